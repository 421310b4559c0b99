"""Checks what ships: digest, size, and that it runs and answers.

    check.py FOLDER…
"""
import argparse
import hashlib
import os
import sys

import numpy as np

from pipeline import manifest
from tflite import Interpreter

# Bytes that a model may have, by what its file is called.
MOST = {'livenessd-face.tflite': 300_000, 'livenessd-liveness.tflite': 700_000}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='+', metavar='FOLDER')
    wrong = 0
    for folder in parser.parse_args().folders:
        about = manifest(folder)
        data = open(os.path.join(folder, about['file']), 'rb').read()
        faults = []
        if hashlib.sha256(data).hexdigest() != about['sha256']:
            faults.append('the manifest has another digest')
        if len(data) > MOST[about['file']]:
            faults.append(f'more than {MOST[about["file"]]} bytes')
        ip = Interpreter(data)
        shape = ip.input[0].shape
        # Black, white and noise: an answer each, and not always the same.
        r = np.random.default_rng(1)
        pictures = [np.zeros(shape[1:], np.uint8), np.full(shape[1:], 255, np.uint8),
                    r.integers(0, 256, shape[1:]).astype(np.uint8)]
        answers = [np.concatenate([o.ravel() for o in ip(p)]) for p in pictures]
        if (answers[0] == answers[2]).all() or (answers[0] == answers[1]).all():
            faults.append('answers the same to black, white and noise')
        outputs = [list(o.shape) for o, _, _ in ip.outputs]
        print(f'{about["file"]} {about["version"]}: {len(data)} bytes, input {list(shape)}, outputs {outputs}:',
              '; '.join(faults) or 'good')
        wrong += len(faults)
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
