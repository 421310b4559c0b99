"""Writes int8 .tflite files, without TensorFlow, and the manifests beside them.

    export.py face|liveness CACHE FOLDER [--version V]

CACHE/face-int8.pt or liveness-int8.pt (quantise.py, calibrate.py) becomes FOLDER/livenessd-face.tflite or
livenessd-liveness.tflite and FOLDER/manifest.yaml. The same checkpoint gives the same bytes.
"""
import argparse
import hashlib
import os

import flatbuffers
import numpy as np

from quantise import Graph

# From TFLite's schema: operators with the versions that a converter writes for int8 (3 of RESIZE_BILINEAR: half-pixel centres).
ADD, CONV_2D, DEPTHWISE_CONV_2D, RESIZE_BILINEAR = 0, 3, 4, 23
VERSIONS = {ADD: 2, CONV_2D: 3, DEPTHWISE_CONV_2D: 3, RESIZE_BILINEAR: 3}
INT32, INT8 = 2, 9
SAME, VALID = 0, 1
NONE, RELU6 = 0, 3
CONV_OPTIONS, DEPTHWISE_OPTIONS, ADD_OPTIONS, RESIZE_OPTIONS = 1, 2, 11, 15


def vector(b, values, kind):
    """A vector of offsets or numbers."""
    size, put = {'offset': (4, b.PrependUOffsetTRelative), 'int32': (4, b.PrependInt32), 'int64': (8, b.PrependInt64),
                 'float32': (4, b.PrependFloat32)}[kind]
    b.StartVector(size, len(values), size)
    for v in reversed(values):
        put(v)
    return b.EndVector()


def table(b, fields):
    """A table of (slot, kind, value); None is left out."""
    b.StartObject(max([s for s, _, _ in fields], default=-1) + 1)
    for slot, kind, value in fields:
        if value is None:
            continue
        {'offset': b.PrependUOffsetTRelativeSlot, 'int8': b.PrependInt8Slot, 'uint8': b.PrependUint8Slot, 'int32': b.PrependInt32Slot,
         'uint32': b.PrependUint32Slot, 'bool': b.PrependBoolSlot}[kind](slot, value, 0)
    return b.EndObject()


class Writer:
    """Collects tensors and operators and writes the model."""

    def __init__(self, description):
        self.b = flatbuffers.Builder(1 << 20)
        self.description = description
        self.buffers = [b'']  # the empty one serves all activations
        self.tensors, self.operators, self.codes, self.index = [], [], [], {}

    def tensor(self, name, shape, kind, scale=None, zero=None, dimension=0, data=None):
        buffer = 0
        if data is not None:
            self.buffers.append(np.ascontiguousarray(data).tobytes())
            buffer = len(self.buffers) - 1
        self.index[name] = len(self.tensors)
        self.tensors.append((name, list(shape), kind, scale, zero, dimension, buffer))
        return self.index[name]

    def operator(self, code, inputs, outputs, options_kind, options):
        if code not in self.codes:
            self.codes.append(code)
        self.operators.append((self.codes.index(code), inputs, outputs, options_kind, options))

    def finish(self, inputs, outputs):
        b = self.b
        buffers = []
        for data in self.buffers:
            at = None
            if data:
                b.StartVector(1, len(data), 16)
                b.head -= len(data)
                b.Bytes[b.head:b.head + len(data)] = data
                at = b.EndVector()
            buffers.append(table(b, [(0, 'offset', at)]))
        buffers = vector(b, buffers, 'offset')
        tensors = []
        for name, shape, kind, scale, zero, dimension, buffer in self.tensors:
            quantisation = None
            if scale is not None:
                s, z = vector(b, [float(v) for v in scale], 'float32'), vector(b, [int(v) for v in zero], 'int64')
                quantisation = table(b, [(2, 'offset', s), (3, 'offset', z), (6, 'int32', dimension)])
            shape, name = vector(b, shape, 'int32'), b.CreateString(name)
            tensors.append(table(b, [(0, 'offset', shape), (1, 'int8', kind), (2, 'uint32', buffer), (3, 'offset', name),
                                     (4, 'offset', quantisation)]))
        tensors = vector(b, tensors, 'offset')
        operators = []
        for code, ins, outs, options_kind, options in self.operators:
            options = table(b, options)
            ins, outs = vector(b, ins, 'int32'), vector(b, outs, 'int32')
            operators.append(table(b, [(0, 'uint32', code), (1, 'offset', ins), (2, 'offset', outs), (3, 'uint8', options_kind),
                                       (4, 'offset', options)]))
        operators = vector(b, operators, 'offset')
        ins, outs = vector(b, inputs, 'int32'), vector(b, outputs, 'int32')
        name = b.CreateString('main')
        subgraph = table(b, [(0, 'offset', tensors), (1, 'offset', ins), (2, 'offset', outs),
                             (3, 'offset', operators), (4, 'offset', name)])
        subgraphs = vector(b, [subgraph], 'offset')
        codes = vector(b, [table(b, [(0, 'int8', c), (2, 'int32', VERSIONS[c]), (3, 'int32', c)]) for c in self.codes], 'offset')
        description = b.CreateString(self.description)
        model = table(b, [(0, 'uint32', 3), (1, 'offset', codes), (2, 'offset', subgraphs), (3, 'offset', description),
                          (4, 'offset', buffers)])
        b.Finish(model, b'TFL3')
        return bytes(b.Output())


def integers(graph, op):
    """Weights, their scales and the bias of a convolution as the kernels want them."""
    w, bias = graph.w[op.output].detach(), graph.b[op.output].detach().numpy().astype(np.float64)
    scale = graph.weight_scale(w).numpy()
    w = w.numpy()
    q = np.clip(np.rint(w * (np.float32(1) / scale)[:, None, None, None]), -127, 127).astype(np.int8)
    accumulator = np.float32(graph.quantisation(op.inputs[0])[0]) * scale  # the bias has the scale of input × weight
    return q, scale, np.clip(np.rint(bias / accumulator), -2 ** 31 + 1, 2 ** 31 - 1).astype(np.int32), accumulator


def convert(graph, description):
    """The bytes of the .tflite."""
    w = Writer(description)
    shapes = {Graph.INPUT: graph.shape}

    def activation(name, shape):
        scale, zero = graph.quantisation(name)
        shapes[name] = shape
        return w.tensor(name, (1, shape[1], shape[2], shape[0]), INT8, [scale], [zero])
    activation(Graph.INPUT, graph.shape)
    for op in graph.ops:
        c, h, wd = shapes[op.inputs[0]]
        act = RELU6 if op.act else NONE
        if op.kind in ('conv', 'depthwise'):
            q, scale, bias, accumulator = integers(graph, op)
            o, _, kh, kw = q.shape
            if op.kind == 'conv':
                weights = w.tensor(op.output + '/weights', (o, kh, kw, c), INT8, scale, np.zeros(o), 0, q.transpose(0, 2, 3, 1))
            else:
                weights = w.tensor(op.output + '/weights', (1, kh, kw, c), INT8, scale, np.zeros(o), 3, q.transpose(1, 2, 3, 0))
            bias = w.tensor(op.output + '/bias', (o,), INT32, accumulator, np.zeros(o), 0, bias)
            shape = (o, h // op.stride, wd // op.stride) if op.same else (o, h - kh + 1, wd - kw + 1)
            pad = SAME if op.same else VALID
            ins, outs = [w.index[op.inputs[0]], weights, bias], [activation(op.output, shape)]
            if op.kind == 'conv':
                w.operator(CONV_2D, ins, outs, CONV_OPTIONS, [
                    (0, 'int8', pad), (1, 'int32', op.stride), (2, 'int32', op.stride), (3, 'int8', act), (4, 'int32', 1), (5, 'int32', 1)])
            else:
                w.operator(DEPTHWISE_CONV_2D, ins, outs, DEPTHWISE_OPTIONS, [
                    (0, 'int8', pad), (1, 'int32', op.stride), (2, 'int32', op.stride), (3, 'int32', 1), (4, 'int8', act), (5, 'int32', 1),
                    (6, 'int32', 1)])
        elif op.kind == 'add':
            w.operator(ADD, [w.index[n] for n in op.inputs], [activation(op.output, (c, h, wd))], ADD_OPTIONS, [(0, 'int8', act)])
        else:
            size = w.tensor(op.output + '/size', (2,), INT32, data=np.array([2 * h, 2 * wd], np.int32))
            w.operator(RESIZE_BILINEAR, [w.index[op.inputs[0]], size], [activation(op.output, (c, 2 * h, 2 * wd))], RESIZE_OPTIONS,
                       [(2, 'bool', False), (3, 'bool', True)])
    return w.finish([w.index[Graph.INPUT]], [w.index[n] for n in graph.outputs])


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
             'detector that comes with Silent-Face-Anti-Spoofing (Apache-2.0).'),
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
        lines += ['detector:', '  strides: [8, 16, 32]', '  points: false', '  overlap: 0.4', 'thresholds:',
                  f'  face_at: {state.get("face_at", .5)}']
    else:
        # Classes 0 and 2 are kinds of attack, but real prints come out as 2 as well (see the card): no names, then.
        lines += ['crop:', '  rule: minifasnet', '  scale: 2.7', 'output:', '  kind: logits', '  classes: 3', '  live: 1', 'thresholds:',
                  f'  live_at: {state["live_at"]}', f'  spoof_at: {state["spoof_at"]}']
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
