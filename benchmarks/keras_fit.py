"""Keras's own `fit` on two networks of report 002, timed for `labkit bench`.

It runs in a Python of its own that has TensorFlow (benchmarks/keras-requirements.txt), started as
`python keras_fit.py MODEL BATCH IMAGES THREADS`. For every line on its input it trains one epoch
and answers with images a second. There is no augmentation, so Keras has less to do than labkit.
"""

import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def mnist_net(classes):
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(classes, activation="softmax"),
    ]


def mbn(classes):
    made = []
    for width in (256, 512, 512, 512):
        for _ in range(2):
            made += [
                layers.Conv2D(width, 3, padding="same", activation="relu"),
                layers.BatchNormalization(),
            ]
        made += [layers.MaxPooling2D(2), layers.Dropout(0.2)]
    return [
        *made,
        layers.Flatten(),
        layers.Dense(1024, activation="relu"),
        layers.Dropout(0.2),
        layers.BatchNormalization(),
        layers.Dense(classes, activation="softmax"),
    ]


NETS = {"mnist_net": (mnist_net, "adam", 1_638_052), "mbn": (mbn, "rmsprop", 15_795_556)}


def main(model, batch, images, threads):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    make, optimizer, parameters = NETS[model]
    net = keras.Sequential([keras.Input((32, 32, 3)), *make(100)])
    assert net.count_params() == parameters, f"{net.count_params():,} parameters in {model}"
    net.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    numbers = np.random.default_rng(0)
    x = numbers.random((images, 32, 32, 3), dtype=np.float32)
    y = numbers.integers(0, 100, images)
    net.fit(x, y, batch_size=batch, epochs=1, verbose=0)  # traces the graph
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        net.fit(x, y, batch_size=batch, epochs=1, verbose=0)
        print(images / (time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
