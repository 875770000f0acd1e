"""How a recipe becomes a run. `fit` is the way in; this package itself imports nothing.

So the pages of the book may read a clock from `progress` without waiting for torch.
"""
