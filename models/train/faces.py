"""Face boxes of the training pictures, by the RetinaFace detector that MiniFASNet's authors ship.

    faces.py DATA TEACHER OUT.json

DATA/train is read; OUT.json maps a picture's path below DATA to a list of [x, y, w, h, confidence], the surest first. A
picture that is there already is not looked at again; what was found is written every half minute.
"""
import argparse
import json
import os
import time

import cv2

FOLDERS = ('london', 'canada', 'lisa', 'caltech-faces', 'congress-gray', 'caltech-background', 'backgrounds')


class RetinaFace:
    """Boxes as upstream's demo makes them, optionally at more than one size of the picture."""

    def __init__(self, teacher):
        self.net = cv2.dnn.readNetFromCaffe(os.path.join(teacher, 'deploy.prototxt'),
                                            os.path.join(teacher, 'Widerface-RetinaFace.caffemodel'))

    def __call__(self, img, sides=(192,), least=0.6):
        h, w = img.shape[:2]
        boxes = []
        for side in sides:
            a = w / h
            small = img
            if h * w >= side * side:
                small = cv2.resize(img, (int(side * a ** .5), int(side / a ** .5)), interpolation=cv2.INTER_LINEAR)
            self.net.setInput(cv2.dnn.blobFromImage(small, 1, mean=(104, 117, 123)), 'data')
            out = self.net.forward('detection_out').reshape(-1, 7)
            for o in out[out[:, 2] >= least]:
                x0, y0, x1, y1 = o[3] * w, o[4] * h, o[5] * w, o[6] * h
                boxes.append([float(x0), float(y0), float(x1 - x0 + 1), float(y1 - y0 + 1), float(o[2])])
        boxes.sort(key=lambda b: -b[4])
        kept = []
        for b in boxes:
            if all(iou(b, k) < 0.4 for k in kept):
                kept.append(b)
        return kept


def iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder of the training pictures')
    parser.add_argument('teacher', help='folder of the RetinaFace detector that comes with MiniFASNet')
    parser.add_argument('out', help='OUT.json; what is in it already is kept')
    args = parser.parse_args()
    data, teacher, out = args.data, args.teacher, args.out
    found = json.load(open(out)) if os.path.exists(out) else {}
    find = RetinaFace(teacher)
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)

    def save():
        with open(out + '.new', 'w') as f:
            json.dump(found, f)
        os.replace(out + '.new', out)
    every = [os.path.join('train', folder, name) for folder in FOLDERS for name in sorted(os.listdir(os.path.join(data, 'train', folder)))]
    todo = [key for key in every if key not in found]
    begun = shown = time.monotonic()
    for i, key in enumerate(todo):
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            save()
            print(f'{i} of {len(todo)} pictures, {(shown - begun) / i * (len(todo) - i) / 60:.1f} min left', flush=True)
        img = cv2.imread(os.path.join(data, key))
        if img is None:
            continue
        sides = (192, 400) if 'background' in key or 'caltech-faces' in key else (192,)
        found[key] = [[round(v, 3) for v in b] for b in find(img, sides)]
    save()
    for folder in FOLDERS:
        n = [v for k, v in found.items() if k.startswith(f'train/{folder}/')]
        print(folder, len(n), 'pictures,', sum(bool(v) for v in n), 'with a face')


if __name__ == '__main__':
    main()
