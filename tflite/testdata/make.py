"""Writes the models of this folder, with the exporter of models/train (Debian's python3-torch and python3-flatbuffers).

    python3 make.py
"""
import os
import sys

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, '..', '..', 'models', 'train'))
import export as e  # noqa: E402

FLOAT32 = 0


def save(name, data):
    with open(os.path.join(here, name), 'wb') as f:
        f.write(data)


# A 1×1 convolution of pixels: out[0] = r + g + b − 300, out[1] = r − b, both in steps of a half.
w = e.Writer('pixels to two numbers')
x = w.tensor('pixels', (1, 2, 2, 3), e.INT8, [1.], [-128])
weights = w.tensor('weights', (2, 1, 1, 3), e.INT8, [.01, .01], [0, 0], 0, np.array([[100, 100, 100], [100, 0, -100]], np.int8))
bias = w.tensor('bias', (2,), e.INT32, [.01, .01], [0, 0], 0, np.array([-30000, 0], np.int32))
y = w.tensor('numbers', (1, 2, 2, 2), e.INT8, [.5], [3])
w.operator(e.CONV_2D, [x, weights, bias], [y], e.CONV_OPTIONS,
           [(0, 'int8', e.VALID), (1, 'int32', 1), (2, 'int32', 1), (3, 'int8', e.NONE), (4, 'int32', 1), (5, 'int32', 1)])
save('int8.tflite', w.finish([x], [y]))

# Two float32 inputs and their sum.
w = e.Writer('a sum')
a, b = w.tensor('a', (1, 4), FLOAT32), w.tensor('b', (1, 4), FLOAT32)
y = w.tensor('sum', (1, 4), FLOAT32)
w.operator(e.ADD, [a, b], [y], e.ADD_OPTIONS, [(0, 'int8', e.NONE)])
save('float32.tflite', w.finish([a, b], [y]))

# A sum of int32, which can't be read.
w = e.Writer('a sum of integers')
a = w.tensor('a', (1, 4), e.INT32)
y = w.tensor('sum', (1, 4), e.INT32)
w.operator(e.ADD, [a, a], [y], e.ADD_OPTIONS, [(0, 'int8', e.NONE)])
save('int32.tflite', w.finish([a], [y]))

# int8 without a quantisation.
w = e.Writer('no scale')
a = w.tensor('a', (1, 4), e.INT8)
save('unscaled.tflite', w.finish([a], [a]))
