"""Describes trained nets to the project's writer of .tflite files (models/graph), and writes the manifests beside them.

    export.py face|liveness CACHE FOLDER [--version V]

CACHE/face-int8.pt or liveness-int8.pt (quantise.py, calibrate.py) becomes FOLDER/livenessd-face.tflite or
livenessd-liveness.tflite and FOLDER/manifest.yaml. The same checkpoint gives the same bytes.
"""
import argparse
import hashlib
import json
import os
import subprocess
import tempfile

import numpy as np

from quantise import Graph

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


def writer(*args):
    """Runs the project's writer of .tflite files, models/graph/write, and gives what it prints."""
    how = ['go', 'run', '-C', ROOT, './models/graph/write', *args]
    r = subprocess.run(how, env={**os.environ, 'CGO_ENABLED': '0'}, capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f'models/graph/write: {r.stderr.strip()}')
    return r.stdout


def write(described, numbers, form='int8'):
    """The bytes of the .tflite of a described net (see graph.Read) and its numbers, in int8 or float32."""
    with tempfile.TemporaryDirectory() as folder:
        net, data, out = (os.path.join(folder, name) for name in ('net.json', 'numbers', 'out.tflite'))
        with open(net, 'w') as f:
            json.dump(described, f)
        with open(data, 'wb') as f:
            for a in numbers:
                f.write(np.ascontiguousarray(a, '<f4').tobytes())
        writer('-format', form, net, data, out)
        with open(out, 'rb') as f:
            return f.read()


def describe(graph, description):
    """A graph of quantise.py as the writer reads it: what is described, and the numbers."""
    operators, numbers = [], []
    for op in graph.ops:
        d = {'kind': 'double' if op.kind == 'resize' else op.kind, 'name': op.output, 'inputs': op.inputs}
        if op.act:
            d['activation'] = 'relu6'
        if op.kind != 'resize':
            d['range'] = [float(v) for v in graph.ranges[op.output]]
        if op.kind in ('conv', 'depthwise'):
            w = graph.w[op.output].detach().numpy()
            d.update(window=list(w.shape[2:]), stride=op.stride, same=op.same)
            if op.kind == 'conv':
                d['outputs'] = w.shape[0]
            numbers += [w.transpose(0, 2, 3, 1) if op.kind == 'conv' else w[:, 0].transpose(1, 2, 0), graph.b[op.output].detach().numpy()]
        operators.append(d)
    c, h, w = graph.shape
    return {'format': 'livenessd-net', 'version': 1, 'description': description,
            'input': {'name': graph.INPUT, 'height': h, 'width': w, 'channels': c}, 'operators': operators,
            'outputs': graph.outputs}, numbers


def convert(graph, description, form='int8'):
    """The bytes of the .tflite."""
    return write(*describe(graph, description), form)


LONDON = ('Face Research Lab London Set', 'CC-BY-4.0', 'Lisa DeBruine and Benedict Jones, figshare 5047666')
CANADA = ('Canada faces', 'CC BY', 'figshare 4220517')
LISA = ('Lisa', 'CC0-1.0', None)
CALTECH_FACES = ('Caltech 101, faces', 'CC-BY-4.0', 'Fei-Fei Li, Marco Andreeto, Marc\'Aurelio Ranzato and Pietro Perona')
CALTECH_SCENES = ('Caltech 101, background', 'CC-BY-4.0', 'Fei-Fei Li, Marco Andreeto, Marc\'Aurelio Ranzato and Pietro Perona')
CONGRESS = ('Congressional portraits, small and gray', 'public domain', None)
INTERIORS = ('Interiors and textures', 'CC0-1.0, Unsplash, Pexels and Pixabay licences', None)
SYNTHETIC = ('Synthetic people and simulated screens and prints', 'Apache-2.0',
             'this project\'s models/train/people.py and recapture.py')
SETS = [LONDON, CANADA, LISA, CALTECH_FACES, CALTECH_SCENES, CONGRESS, INTERIORS, SYNTHETIC]

ABOUT = {
    'face': ('face-detection', 'Face detector for 8 to 100 % of the frame\'s height, trained to give the boxes of the RetinaFace '
             'detector that comes with Silent-Face-Anti-Spoofing (Apache-2.0), and five points.'),
    'liveness': ('liveness', 'Passive liveness net, distilled from MiniFASNetV2 of Silent-Face-Anti-Spoofing (Apache-2.0); '
                 'simulated attacks, no real ones.'),
}


def quoted(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def manifest(kind, state, file, digest, version):
    task, about = ABOUT[kind]
    lines = ['# Written by models/train/export.py.', 'schema: 1', f'task: {task}', f'name: livenessd-{kind}',
             f'version: {version}', 'licence: Apache-2.0', f'description: {quoted(about)}', 'trained_on:']
    for name, licence, attribution in SETS:
        lines += [f'  - name: {quoted(name)}', f'    licence: {quoted(licence)}']
        if attribution:
            lines.append(f'    attribution: {quoted(attribution)}')
    _, h, w = state['shape']
    lines += [f'file: {file}', f'sha256: {digest}', 'input:', f'  width: {w}', f'  height: {h}',
              f'  order: {"RGB" if kind == "face" else "BGR"}', '  type: int8', '  scale: 1', '  zero_point: -128']
    if kind == 'face':
        points = len(state['outputs']) == 9  # three maps for each stride
        lines += ['detector:', '  strides: [8, 16, 32]', f'  points: {str(points).lower()}', '  overlap: 0.4', 'thresholds:',
                  f'  face_at: {state.get("face_at", .5)}']
    else:
        # Classes 0 and 2 are kinds of attack, but real prints come out as 2 as well (see the card): no names, then.
        lines += ['crop:', '  rule: minifasnet', '  scale: 2.7', 'output:', '  kind: logits', '  classes: 3', '  live: 1', 'thresholds:',
                  f'  live_at: {state["live_at"]}', f'  spoof_at: {state["spoof_at"]}']
        if 'evidence' in state:  # a checkpoint from before calibrate.py measured it has none
            lines += ['calibration:'] + [f'  {k}: {state["evidence"][k]}' for k in ('slope', 'offset', 'least', 'most')]
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('net', choices=('face', 'liveness'))
    parser.add_argument('cache', help='folder of the checkpoints')
    parser.add_argument('folder', help='the model\'s folder, for example ../shipped/face')
    parser.add_argument('--version', default='0.1.0')
    args = parser.parse_args()
    graph, state = Graph.load(os.path.join(args.cache, args.net + '-int8.pt'))
    data = convert(graph, f'livenessd-{args.net} {args.version}')
    file, digest = f'livenessd-{args.net}.tflite', hashlib.sha256(data).hexdigest()
    os.makedirs(args.folder, exist_ok=True)
    for name, content in ((file, data), ('manifest.yaml', manifest(args.net, state, file, digest, args.version).encode())):
        path = os.path.join(args.folder, name)
        with open(path + '.new', 'wb') as f:
            f.write(content)
        os.replace(path + '.new', path)
    print(f'{args.net}: {len(data)} bytes, {graph.macs() / 1e6:.1f} M MACs, sha256 {digest}')


if __name__ == '__main__':
    main()
