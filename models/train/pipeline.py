"""The shipped pair of nets as the daemon runs them: a picture in, faces and their live log-odds out."""
import os
import re

import cv2
import numpy as np

from crops import crop
from face import decode, suppress
from tflite import Interpreter


def manifest(folder):
    """What is needed of FOLDER/manifest.yaml: the file and the thresholds. It is export.py's own flat writing, no YAML parser."""
    text = open(os.path.join(folder, 'manifest.yaml'), encoding='utf-8').read()
    found = {k: v for k, v in re.findall(r'^ *(file|face_at|live_at|spoof_at|version|overlap|sha256): (\S+)$', text, re.M)}
    return {k: v if k in ('file', 'version', 'sha256') else float(v) for k, v in found.items()}


def letterbox(img, w, h):
    """The picture shrunk into the top left corner, never enlarged, each pixel the mean of the whole pixels that it covers (as in
    models/letterbox.go); and the factors back to its own pixels."""
    ih, iw = img.shape[:2]
    factor = max(iw / w, ih / h, 1)
    sw, sh = min(w, max(1, int(iw / factor + .5))), min(h, max(1, int(ih / factor + .5)))
    out = np.zeros((h, w, 3), np.uint8)
    ys, xs = np.arange(sh) * ih // sh, np.arange(sw) * iw // sw
    sums = np.add.reduceat(np.add.reduceat(img.astype(np.uint32), ys, 0), xs, 1)
    n = np.outer(np.diff(ys, append=ih), np.diff(xs, append=iw))[..., None]
    out[:sh, :sw] = (sums + n // 2) // n
    return out, iw / sw, ih / sh


class Detector:
    def __init__(self, folder):
        self.about = manifest(folder)
        self.net = Interpreter(open(os.path.join(folder, self.about['file']), 'rb').read())
        _, self.h, self.w, _ = self.net.input[0].shape

    def read(self, out):
        """Faces in the net's own picture from its outputs."""
        n = 3 if out[2].shape[-1] == 10 else 2  # with points or without
        maps = [(out[i][0, :, :, 0], *(v[0] for v in out[i + 1:i + n])) for i in range(0, len(out), n)]
        return suppress(decode(maps, self.about['face_at']), self.about['overlap'])

    def __call__(self, img):
        """[x, y, w, h, P(face)] of a BGR picture, the surest first, in its pixels, and the x and y of five points if the net gives them.
        Boxes may reach beyond the picture."""
        x, fx, fy = letterbox(img, self.w, self.h)
        found = self.read(self.net.real(x[..., ::-1]))
        back = np.array([fx, fy, fx, fy, 1] + [fx, fy] * 5)
        return [list(f * back[:len(f)]) for f in found]


def odds(z):
    """Log-odds of live from three logits; class 1 is live."""
    m = np.maximum(z[..., 0], z[..., 2])
    return z[..., 1] - m - np.log(np.exp(z[..., 0] - m) + np.exp(z[..., 2] - m))


class Judge:
    def __init__(self, folder):
        self.about = manifest(folder)
        self.net = Interpreter(open(os.path.join(folder, self.about['file']), 'rb').read())

    def logits(self, picture):
        """Of an 80×80 BGR crop."""
        return self.net.real(picture)[0].reshape(3)

    def __call__(self, img, box):
        """Live log-odds of the face in a BGR picture."""
        return float(odds(self.logits(crop(img, box))))
