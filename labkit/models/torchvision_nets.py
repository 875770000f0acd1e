"""torchvision's own networks, used as they are but for their stem or their head."""

from __future__ import annotations

from torch import nn
from torchvision import models as tv

__all__ = ["alexnet_plus", "densenet161", "resnet_cifar", "resnet_imagenet"]

RESNETS = {18: tv.resnet18, 34: tv.resnet34}


def resnet_imagenet(classes: int, *, depth: int) -> nn.Module:
    """ResNet-18 and 34 with the ImageNet stem, as report 001 uses them.

    Paper: He, Zhang, Ren, Sun 2015, arXiv:1512.03385. Idea: let a block learn what to add to its
    input, so that depth stops hurting. Nothing is changed for small images: the 7x7 stem of
    stride 2 and its pooling leave a quarter of the width.
    Parameters: 11,279,112 (18) and 21,387,272 (34) for 200 classes. Published on Tiny-ImageNet:
    45 % and 46.5 %, the best of 20 epochs (report 001).
    """
    return RESNETS[depth](num_classes=classes)


def resnet_cifar(classes: int, *, depth: int, channels: int = 3) -> nn.Module:
    """ResNet-18 and 34 with a stem for small images, as report 000's memory table implies.

    Paper: He, Zhang, Ren, Sun 2015, arXiv:1512.03385. Idea: let a block learn what to add to its
    input, so that depth stops hurting. Changed: a 3x3 stem of stride 1 without pooling, so that
    the first stage sees all 32x32 pixels; everything behind it is torchvision's.
    Parameters: 11,170,371 (18) and 21,278,531 (34) with 3 outputs. Published on CIFAR-100: 77.54 %
    for depth 18 (DeVries and Taylor 2017, arXiv:1708.04552, mean of 5).
    """
    net = RESNETS[depth](num_classes=classes)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    return net


def alexnet_plus(classes: int) -> nn.Sequential:
    """AlexNet with one more dense layer, as report 001 uses it.

    Paper: Krizhevsky 2014, arXiv:1404.5997 (torchvision's form of Krizhevsky et al. 2012). Idea:
    keep the thousand outputs for ImageNet and let a new layer read them. Nothing is changed for
    small images: of 64x64 pixels the convolutions leave one, which the pooling copies 36 times.
    Parameters: 61,301,040 for 200 classes. Published on Tiny-ImageNet: below 20 % after 20 epochs
    (report 001).
    """
    return nn.Sequential(tv.alexnet(), nn.Linear(1000, classes))


def densenet161(classes: int) -> nn.Module:
    """DenseNet-161, torchvision's, with another number of outputs.

    Paper: Huang, Liu, van der Maaten, Weinberger 2016, arXiv:1608.06993. Idea: every layer reads
    the outputs of all layers before it. Nothing is changed for small images.
    Parameters: 26,913,800 for 200 classes. Published on Tiny-ImageNet: 51 % after 8 epochs
    (report 001).
    """
    return tv.densenet161(num_classes=classes)
