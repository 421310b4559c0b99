"""Draws the pictures of the daemon's golden self-test: synthetic people, two living, two attacked, and an empty room.

    golden.py OUT

All is procedural: no training picture is in them. What the nets answer on them is written by the Go side's tests
(go test ./models -update), not here.
"""
import argparse
import os

import cv2
import numpy as np

import people
import recapture as rc
from clip import CAMERA, Movement, Steady, scene_of

# name: label, person, light and movement, medium, room
PICTURES = {
    'live-1.jpg': ('live', 9_100_001, 31, 0, 11),
    'live-2.jpg': ('live', 9_100_002, 32, 0, 12),
    'replay-1.jpg': ('replay', 9_100_003, 33, 41, 11),
    'print-1.jpg': ('print', 9_100_004, 34, 42, 12),
    'empty-1.jpg': ('none', 0, 0, 0, 11),
}
SIZE, QUALITY = (480, 360), 60


def picture(label, seed, moves_seed, medium_seed, room_seed):
    room = people.room(np.random.default_rng(room_seed), people.W, people.H)
    if label == 'none':
        scene = np.clip(room, 0, 4).astype(np.float32) ** (1 / 2.2)
    else:
        moves, light = Movement(moves_seed), people.Light(np.random.default_rng(moves_seed))
        medium = None
        if label != 'live':
            medium = people.Medium(np.random.default_rng(medium_seed), label, people.face_box(moves.pose(.5)), (people.H, people.W))
        scene = scene_of(seed, .5, label, people.Person(seed), moves, light, room, medium)
    return rc.capture(scene, Steady(CAMERA, 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    os.makedirs(args.out, exist_ok=True)
    for name, what in PICTURES.items():
        path = os.path.join(args.out, name)
        small = cv2.resize(picture(*what), SIZE, interpolation=cv2.INTER_AREA)
        how = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        cv2.imwrite(path, (np.clip(small, 0, 1) * 255 + .5).astype(np.uint8), how)
        print(name, os.path.getsize(path), 'bytes')


if __name__ == '__main__':
    main()
