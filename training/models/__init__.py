"""One dependency-free file an architecture; the file travels in the .mar as `architecture.py`.

Each has the same functions, which `bit.py` documents in full:

    build(num_classes, **options)   float (N, 3, H, W) -> logits (N, num_classes)
    fold(model)                     a copy for inference
    explained_layer(model)          the last feature map, (N, channels, h, w)
    explained_cells(model)          where in the input its cells look
    backbone_and_head(model)        what a frozen phase computes once, and what it trains
"""

from __future__ import annotations

from typing import Literal

ArchitectureName = Literal["bit", "cnn", "inception", "mobilenet", "plain_cnn", "resnet", "vgg"]
