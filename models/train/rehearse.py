"""A rehearsal of everything, small: from nothing to two .tflite files that livenessd loads. It says whether the programs work, and
nothing about how good a net gets.

    rehearse.py [FOLDER] [--minutes M] [--seed N]

Runs people.py, facedata.py, pool.py, face.py, liveness.py, quantise.py, calibrate.py, export.py and check.py as one would, on drawn
people alone: no training pictures and no teacher are needed. Then the livenessd of the tree (`make build` in the project's root) verifies
both bundles, tries them, and scores a picture with them. Everything lies in FOLDER, where a rehearsal that was stopped goes on; without
one it is a temporary folder, which is removed.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

import facedata
import liveness
import people

HERE = os.path.dirname(os.path.abspath(__file__))
LIVENESSD = os.environ.get('LIVENESSD_BIN') or os.path.join(HERE, '..', '..', 'build', 'livenessd')
PEOPLE, HELD, ROOMS = 240, 40, 6


def pictures(folder, seed):
    """The folders of training pictures, with drawn people in them instead of photographed ones, and faces.json."""
    synthetic = os.path.join(folder, 'synthetic', 'train')
    found = {}
    for name in ('caltech-faces', 'london', 'backgrounds'):
        os.makedirs(os.path.join(folder, 'data', 'train', name), exist_ok=True)
    live = [r for r in map(json.loads, open(os.path.join(synthetic, 'labels.jsonl'))) if r['label'] == 'live']
    for i, row in enumerate(live):
        key = f'train/{("caltech-faces", "london")[i % 2]}/{i:03d}.jpg'
        shutil.copyfile(os.path.join(synthetic, row['file']), os.path.join(folder, 'data', key))
        found[key] = [row['face'] + [1.]]
    rng = np.random.default_rng(seed)
    for i in range(ROOMS):
        key = f'train/backgrounds/{i:03d}.jpg'
        room = np.clip(people.room(rng, people.W, people.H), 0, 1) ** (1 / 2.2)
        cv2.imwrite(os.path.join(folder, 'data', key), (room * 255 + .5).astype(np.uint8))
        found[key] = []
    with open(os.path.join(folder, 'faces.json'), 'w') as f:
        json.dump(found, f)


def judge(folder):
    """The daemon's own code loads both nets and looks at a picture."""
    bundles = [os.path.join(folder, 'models', net) for net in ('face', 'liveness')]
    config = os.path.join(folder, 'rehearsal.yaml')
    with open(config, 'w') as f:
        f.write('models:\n  detector: {}\n  liveness: {}\n'.format(*map(json.dumps, bundles)))
    for bundle in bundles:
        run([LIVENESSD, 'models', 'verify', bundle])
        run([LIVENESSD, 'models', 'probe', bundle])
    run([LIVENESSD, 'score', '--json', '--config', config, '--face', '200,120,180,240', os.path.join(folder, 'synthetic', 'held', '000000.jpg')])


def run(command):
    subprocess.run(command, check=True)


def steps(folder, minutes, seed):
    """What is done in order: a name, about how many seconds it takes, and what does it."""
    def program(name, *args):
        return lambda: run([sys.executable, os.path.join(HERE, name), *map(str, args)])
    data, synthetic = os.path.join(folder, 'data'), os.path.join(folder, 'synthetic')
    yield 'people', .12 * PEOPLE, program('people.py', os.path.join(synthetic, 'train'), PEOPLE, 2 * seed - 1)
    yield 'people for calibration', .12 * HELD, program('people.py', os.path.join(synthetic, 'held'), HELD, 2 * seed)
    yield 'pictures', 1, lambda: pictures(folder, seed)
    yield 'frames', 30, program('facedata.py', data, folder, '--count', 2 * facedata.HELD)
    yield 'crops', 10, program('pool.py', data, folder, '--count', 3 * liveness.HELD, '--seed', seed)
    for net in ('face', 'liveness'):
        out = os.path.join(folder, 'models', net)
        yield f'{net}: training', 60 * minutes + 3, program(f'{net}.py', folder, minutes, '--seed', seed)
        yield f'{net}: int8', 6 * minutes + 10, program('quantise.py', net, folder, '--minutes', minutes / 5, '--seed', seed)
        where = [folder] if net == 'face' else [data, folder, '--crops', 200, '--seed', seed]
        yield f'{net}: operating point', 10, program('calibrate.py', net, *where)
        yield f'{net}: export', 3, program('export.py', net, folder, out, '--version', '0.0.0')
        yield f'{net}: check', 2, program('check.py', out)
    yield 'livenessd', 3, lambda: judge(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?')
    parser.add_argument('--minutes', type=float, default=1., help='of training each net')
    parser.add_argument('--seed', type=int, default=1, help='of people, pictures and training, from 1 on')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if not os.path.exists(LIVENESSD):
        sys.exit(f'rehearse: there is no {LIVENESSD}: make build in the project\'s root makes it')
    folder = args.folder or tempfile.mkdtemp(prefix='rehearsal-')
    os.makedirs(folder, exist_ok=True)
    folder = os.path.abspath(folder)
    try:
        todo, start, done = list(steps(folder, args.minutes, args.seed)), time.monotonic(), 0.
        total = sum(seconds for _, seconds, _ in todo)
        for i, (name, seconds, do) in enumerate(todo):
            # This machine has been so much slower than the one that the seconds are of.
            pace = (time.monotonic() - start) / done if done else 1.
            print(f'== {i + 1} of {len(todo)}: {name}; about {pace * (total - done):.0f} s left', flush=True)
            do()
            done += seconds
        print(f'rehearsed in {time.monotonic() - start:.0f} s')
    except subprocess.CalledProcessError as e:
        sys.exit(f'rehearse: {e}')
    finally:
        if not args.folder:
            shutil.rmtree(folder)


if __name__ == '__main__':
    main()
