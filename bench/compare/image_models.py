"""ONNX models of small convolutional nets and recurrent layers with seeded random weights, as PyTorch exports them.

Batch normalisations are written out as nodes (an export that keeps them), so that folding them is part of the comparison.
"""

import models
import numpy as np
from onnx import TensorProto

IMAGE = 224
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
RECURRENT_STEPS = 50


class ImageWriter(models.Writer):
    def conv(self, x, channels_in, channels_out, kernel, stride=1, groups=1):
        fan = channels_in // groups * kernel * kernel
        weight = self.normal(channels_out, channels_in // groups, kernel, kernel, scale=(2 / fan) ** 0.5)
        pad = kernel // 2
        x = self.add("Conv", x, weight, kernel_shape=[kernel, kernel], strides=[stride, stride],
                     pads=[pad, pad, pad, pad], dilations=[1, 1], group=groups)
        near_one = (1 + self.rng.standard_normal(channels_out) * 0.1).astype(np.float32)
        return self.add("BatchNormalization", x, self.constant(near_one), self.normal(channels_out, scale=0.1),
                        self.normal(channels_out, scale=0.1), self.constant(np.abs(near_one)), epsilon=1e-5)

    def head(self, x, channels, classes):
        x = self.add("GlobalAveragePool", x)
        return self.gemm(self.add("Flatten", x, axis=1), channels, classes)


def _save(w, path, x, output, shape):
    w.save(path, [(x, TensorProto.FLOAT, ["batch", 3, IMAGE, IMAGE])], output, shape)


def resnet18(path):
    w = ImageWriter()
    x = w.add("Relu", w.conv("image", 3, 64, 7, 2))
    x = w.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            y = w.add("Relu", w.conv(x, width, channels, 3, stride))
            y = w.conv(y, channels, channels, 3)
            if stride != 1:
                x = w.conv(x, width, channels, 1, stride)
            x, width = w.add("Relu", w.add("Add", y, x)), channels
    _save(w, path, "image", w.head(x, 512, 1000), ["batch", 1000])


def mobilenet_v2(path):
    w = ImageWriter()
    low, high = w.constant(np.float32(0)), w.constant(np.float32(6))

    def relu6(x):
        return w.add("Clip", x, low, high)

    x, width = relu6(w.conv("image", 3, 32, 3, 2)), 32
    for expand, channels, repeats, first_stride in MOBILENET:
        for block in range(repeats):
            stride = first_stride if block == 0 else 1
            y, hidden = x, width * expand
            if expand != 1:
                y = relu6(w.conv(y, width, hidden, 1))
            y = relu6(w.conv(y, hidden, hidden, 3, stride, groups=hidden))
            y = w.conv(y, hidden, channels, 1)
            x, width = (w.add("Add", x, y) if stride == 1 and width == channels else y), channels
    x = relu6(w.conv(x, width, 1280, 1))
    _save(w, path, "image", w.head(x, 1280, 1000), ["batch", 1000])


def recurrent(op, path, hidden, bidirectional):
    """One layer of nn.LSTM or nn.GRU, batch first as ranking models write it."""
    w = models.Writer()
    gates, directions = {"LSTM": 4, "GRU": 3}[op], 2 if bidirectional else 1
    scale = hidden**-0.5
    x = w.add("Transpose", "x", perm=[1, 0, 2])
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    y = w.add(op, x, w.normal(directions, gates * hidden, hidden, scale=scale),
              w.normal(directions, gates * hidden, hidden, scale=scale),
              w.normal(directions, 2 * gates * hidden, scale=scale), hidden_size=hidden,
              direction="bidirectional" if bidirectional else "forward", **extra)
    y = w.add("Transpose", y, perm=[2, 0, 1, 3])
    y = w.add("Reshape", y, w.constant(np.array([0, 0, -1], np.int64)))
    w.save(path, [("x", TensorProto.FLOAT, ["batch", RECURRENT_STEPS, hidden])], y,
           ["batch", RECURRENT_STEPS, directions * hidden])


def write(name, folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    if path.exists():
        return path
    if name == "resnet18":
        resnet18(path)
    elif name == "mobilenet_v2":
        mobilenet_v2(path)
    else:
        op, hidden = name.split("_")[:2]
        recurrent(op.upper(), path, int(hidden), name.endswith("_both"))
    return path


def inputs(name, batch, seed=0):
    rng = np.random.default_rng(seed)
    if name in ("resnet18", "mobilenet_v2"):
        return {"image": rng.standard_normal((batch, 3, IMAGE, IMAGE)).astype(np.float32)}
    hidden = int(name.split("_")[1])
    return {"x": rng.standard_normal((batch, RECURRENT_STEPS, hidden)).astype(np.float32)}
