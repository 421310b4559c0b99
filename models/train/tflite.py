"""Runs .tflite files on the TFLite C library, through ctypes, with XNNPACK's int8 kernels: what the daemon does.

The library is looked for in $LIVENESSD_TFLITE and in build of the project (`make` in the project's root fetches it there).
"""
import ctypes
import os

import numpy as np

TYPES = {1: np.float32, 2: np.int32, 3: np.uint8, 9: np.int8}


class Affine(ctypes.Structure):
    _fields_ = [('scale', ctypes.c_float), ('zero', ctypes.c_int32)]


class XNNPackOptions(ctypes.Structure):  # of 2.9
    _fields_ = [('threads', ctypes.c_int32), ('flags', ctypes.c_uint32)]


QS8 = 1


def library():
    """The path of the C library, or None."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
    for path in (os.environ.get('LIVENESSD_TFLITE', ''), os.path.join(root, 'build', 'libtensorflowlite_c.so')):
        if path and os.path.exists(path):
            return path
    return None


class Interpreter:
    """One model, ready to run. Calls take and give stored numbers; real() makes real ones of them."""

    def __init__(self, data, xnnpack=True):
        path = library()
        if path is None:
            raise FileNotFoundError('libtensorflowlite_c.so: run make in the project\'s root, or set LIVENESSD_TFLITE')
        c = self.c = ctypes.CDLL(path)
        for name in ('TfLiteModelCreate', 'TfLiteInterpreterOptionsCreate', 'TfLiteInterpreterCreate',
                     'TfLiteInterpreterGetInputTensor', 'TfLiteInterpreterGetOutputTensor', 'TfLiteTensorData', 'TfLiteXNNPackDelegateCreate'):
            getattr(c, name).restype = ctypes.c_void_p
        c.TfLiteTensorQuantizationParams.restype = Affine
        c.TfLiteTensorByteSize.restype = ctypes.c_size_t
        self.data = data  # the model refers to it
        self.model = c.TfLiteModelCreate(data, ctypes.c_size_t(len(data)))
        if not self.model:
            raise ValueError('not a TFLite model')
        options = c.TfLiteInterpreterOptionsCreate()
        c.TfLiteInterpreterOptionsSetNumThreads(ctypes.c_void_p(options), 1)
        self.delegate = None
        if xnnpack:
            c.TfLiteVersion.restype = ctypes.c_char_p
            if not c.TfLiteVersion().startswith(b'2.9.'):
                raise RuntimeError('the XNNPACK options are known for TFLite 2.9 alone')
            self.delegate = c.TfLiteXNNPackDelegateCreate(ctypes.byref(XNNPackOptions(1, QS8)))
            c.TfLiteInterpreterOptionsAddDelegate(ctypes.c_void_p(options), ctypes.c_void_p(self.delegate))
        self.interpreter = c.TfLiteInterpreterCreate(ctypes.c_void_p(self.model), ctypes.c_void_p(options))
        c.TfLiteInterpreterOptionsDelete(ctypes.c_void_p(options))
        if not self.interpreter or c.TfLiteInterpreterAllocateTensors(ctypes.c_void_p(self.interpreter)) != 0:
            raise ValueError('the model can\'t be run')
        self.input = self._view(c.TfLiteInterpreterGetInputTensor(ctypes.c_void_p(self.interpreter), 0))
        n = c.TfLiteInterpreterGetOutputTensorCount(ctypes.c_void_p(self.interpreter))
        self.outputs = [self._view(c.TfLiteInterpreterGetOutputTensor(ctypes.c_void_p(self.interpreter), i)) for i in range(n)]

    def _view(self, t):
        c, t = self.c, ctypes.c_void_p(t)
        shape = [c.TfLiteTensorDim(t, i) for i in range(c.TfLiteTensorNumDims(t))]
        raw = (ctypes.c_uint8 * c.TfLiteTensorByteSize(t)).from_address(c.TfLiteTensorData(t))
        q = c.TfLiteTensorQuantizationParams(t)
        return np.frombuffer(raw, TYPES[c.TfLiteTensorType(t)]).reshape(shape), q.scale, q.zero

    def __call__(self, x):
        """x: pixels 0…255, height × width × 3. The stored outputs."""
        t = self.input[0]
        t[...] = (x if t.dtype == np.float32 else (x.astype(np.int16) - 128).astype(np.int8)).reshape(t.shape)
        if self.c.TfLiteInterpreterInvoke(ctypes.c_void_p(self.interpreter)) != 0:
            raise RuntimeError('invoke failed')
        return [o.copy() for o, _, _ in self.outputs]

    def real(self, x):
        """The outputs as real numbers."""
        return [o if o.dtype == np.float32 else (o.astype(np.float32) - z) * np.float32(s) for o, (_, s, z) in zip(self(x), self.outputs)]

    def __del__(self):
        if getattr(self, 'interpreter', None):
            self.c.TfLiteInterpreterDelete(ctypes.c_void_p(self.interpreter))
        if getattr(self, 'delegate', None):
            self.c.TfLiteXNNPackDelegateDelete(ctypes.c_void_p(self.delegate))
        if getattr(self, 'model', None):
            self.c.TfLiteModelDelete(ctypes.c_void_p(self.model))
