"""Turns a trained net into a graph of int8 operators and trains it on with fake quantisation.

    quantise.py face|liveness CACHE [--minutes M] [--teacher FOLDER]

Batch norm and the scaling of the pixels are folded into the convolutions, activation ranges are measured on crops or frames of
the pool, and the graph's own weights are then trained for some minutes as the int8 kernels will see them: nets with ReLU6 and
batch norm lose one or two per cent of their verdicts otherwise. CACHE/face.pt or liveness.pt is read (its running average),
CACHE/face-int8.pt or liveness-int8.pt written: all that export.py needs. A training that was stopped goes on where it was (CACHE/face-tuning.pt or liveness-tuning.pt).
"""
import argparse
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import face
import facedata
import liveness
import pool as crops
from nets import FaceNet, LivenessNet
from schedule import Schedule


RATE = 1e-3  # of tuning, relative to the size of what is tuned


class Op:
    """One operator: conv, depthwise, add or resize. Names of tensors tell what flows where."""

    def __init__(self, kind, inputs, output, stride=1, act=False, same=True):
        self.kind, self.inputs, self.output = kind, inputs, output
        self.stride, self.act, self.same = stride, act, same


def affine(low, high):
    """Scale and zero point of an int8 tensor; the range contains 0."""
    low, high = min(low, 0.), max(high, 0.)
    scale = np.float32(max(high - low, 1e-6) / 255)
    return float(scale), int(np.clip(round(-128 - low / float(scale)), -128, 127))


class Graph(nn.Module):
    """Operators in order, their weights, and the range of each tensor. Input: raw pixels, NCHW."""

    INPUT = 'input'

    def __init__(self, shape, ops, weights, outputs, ranges=None):
        super().__init__()
        self.shape, self.ops, self.outputs = tuple(shape), ops, outputs  # shape: C, H, W
        self.w = nn.ParameterDict({k: nn.Parameter(v[0].clone().contiguous(memory_format=torch.channels_last))
                                   for k, v in weights.items()})
        self.b = nn.ParameterDict({k: nn.Parameter(v[1].clone()) for k, v in weights.items()})
        self.ranges = dict(ranges or {})

    def quantisation(self, name):
        """Scale and zero point of a tensor. A resize has those of what it resizes."""
        if name == self.INPUT:
            return 1., -128
        op = next(o for o in self.ops if o.output == name)
        if op.kind == 'resize':
            return self.quantisation(op.inputs[0])
        return affine(*self.ranges[name])

    @staticmethod
    def weight_scale(w):
        """One for each output channel, symmetric."""
        return (w.detach().abs().flatten(1).amax(1) / 127).clamp(min=1e-8)

    def forward(self, x, fake=True, watch=None):
        """The outputs in order. fake: as int8 would have it. watch(name, tensor) sees what each operator gives."""
        at = {self.INPUT: x}
        last = {name: i for i, op in enumerate(self.ops) for name in op.inputs}
        for i, op in enumerate(self.ops):
            a = at[op.inputs[0]]
            if op.kind in ('conv', 'depthwise'):
                w, b = self.w[op.output], self.b[op.output]
                if fake:
                    s = self.weight_scale(w)
                    w = torch.fake_quantize_per_channel_affine(w, s, torch.zeros(len(s), dtype=torch.int32), 0, -127, 127)
                k = w.shape[-1]
                if op.same and op.stride == 2:
                    a = F.pad(a, (0, 1, 0, 1))  # TFLite's SAME where a stride of 2 meets an even size
                around = k // 2 if op.same and op.stride == 1 else 0
                y = F.conv2d(a, w, b, op.stride, around, groups=a.shape[1] if op.kind == 'depthwise' else 1)
            elif op.kind == 'add':
                y = a + at[op.inputs[1]]
            elif op.kind == 'resize':
                y = F.interpolate(a, scale_factor=2, mode='bilinear', align_corners=False)
            if op.act:
                y = F.relu6(y)
            if watch:
                watch(op.output, y)
            if fake and op.kind != 'resize':
                scale, zero = self.quantisation(op.output)
                y = torch.fake_quantize_per_tensor_affine(y, scale, zero, -128, 127)
            at[op.output] = y
            for name in op.inputs:
                if last[name] == i and name not in self.outputs:
                    at.pop(name, None)
        return [at[name] for name in self.outputs]

    def measure(self, batches, cut):
        """Sets the ranges from what flows in float: quantiles cut and 1 − cut, averaged over the batches."""
        seen = {}

        def watch(name, y):
            v = y.flatten()
            v = v[torch.randperm(len(v))[:200_000]] if len(v) > 200_000 else v
            q = cut.get(name, cut[None])
            low, high = (torch.quantile(v, torch.tensor([q, 1 - q])) if q else torch.stack([v.min(), v.max()])).tolist()
            seen.setdefault(name, []).append((low, high))
        with torch.no_grad():
            for x in batches:
                self(x, fake=False, watch=watch)
        for op in self.ops:
            if op.kind == 'resize':
                continue
            low, high = np.mean(seen[op.output], 0)
            if not op.act and any(o.act and o.kind == 'add' and op.output in self.through(o) for o in self.ops):
                low, high = max(low, -6.), min(high, 6.)  # what meets 0…6 and then ReLU6 can't do more beyond
            # what ReLU6 lets through needs no more than 0…6
            self.ranges[op.output] = (0., float(min(max(high, .1), 6.))) if op.act else (float(low), float(high))

    def through(self, op):
        """The inputs of an operator, seen through resizes."""
        makers = {o.output: o for o in self.ops}
        return [makers[n].inputs[0] if n in makers and makers[n].kind == 'resize' else n for n in op.inputs]

    def macs(self):
        n, sizes = 0, {self.INPUT: self.shape}
        for op in self.ops:
            c, h, w = sizes[op.inputs[0]]
            if op.kind in ('conv', 'depthwise'):
                k = self.w[op.output]
                h, w = (h // op.stride, w // op.stride) if op.same else (h - k.shape[2] + 1, w - k.shape[3] + 1)
                n += h * w * k.numel()
                c = k.shape[0]
            elif op.kind == 'resize':
                h, w = 2 * h, 2 * w
            sizes[op.output] = (c, h, w)
        return n

    def save(self, path, **more):
        torch.save({'shape': self.shape, 'outputs': self.outputs, 'ranges': self.ranges,
                    'ops': [(o.kind, o.inputs, o.output, o.stride, o.act, o.same) for o in self.ops],
                    'weights': {k: (self.w[k].detach(), self.b[k].detach()) for k in self.w}, **more}, path + '.new')
        os.replace(path + '.new', path)

    @classmethod
    def load(cls, path):
        s = torch.load(path)
        g = cls(s['shape'], [Op(*o) for o in s['ops']], s['weights'], s['outputs'], s['ranges'])
        return g, s


def folded(conv, bn):
    """Weight and bias of a convolution with its batch norm."""
    k = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return conv.weight * k[:, None, None, None], bn.bias - bn.running_mean * k


class Builder:
    def __init__(self):
        self.ops, self.weights = [], {}

    def add(self, kind, inputs, output, weight=None, **how):
        self.ops.append(Op(kind, inputs, output, **how))
        if weight:
            self.weights[output] = tuple(v.detach() for v in weight)
        return output

    def conv(self, block, x, name, scale_pixels=False):
        w, b = folded(block.conv, block.bn)
        if scale_pixels:  # (x − 127.5) / 64 before the convolution; padding is pixel 0 on both sides
            b = b - w.sum((1, 2, 3)) * 127.5 / 64
            w = w / 64
        return self.add('conv', [x], name, (w, b), stride=block.conv.stride[0], act=block.act)

    def residual(self, block, x, name):
        return self.add('add', [x, self.conv(block.body, x, name + '_body')], name, act=True)


def graph_of_liveness(net):
    b, x = Builder(), Graph.INPUT
    for i, block in enumerate(net.layers):
        x = b.residual(block, x, f'l{i}') if hasattr(block, 'body') else b.conv(block, x, f'l{i}', scale_pixels=i == 0)
    x = b.add('depthwise', [x], 'look', folded(net.pool, net.bn), act=True, same=False)
    x = b.add('conv', [x], 'logits', (net.head.weight[:, :, None, None], net.head.bias))
    return Graph((3, 80, 80), b.ops, b.weights, [x])


def graph_of_face(net):
    b, x = Builder(), Graph.INPUT
    x = b.conv(net.stem[0], x, 'stem0', scale_pixels=True)
    x = b.conv(net.stem[1], x, 'stem1')
    maps = []
    for name, part in (('s8', net.s8), ('s16', net.s16), ('s32', net.s32)):
        x = b.residual(part[1], b.conv(part[0], x, name + '_down'), name)
        maps.append(x)
    m8, m16, m32 = maps
    up = b.add('resize', [b.conv(net.down32, m32, 'around32')], 'up32')
    m16 = b.add('add', [m16, up], 'wide16', act=True)
    up = b.add('resize', [b.conv(net.down16, m16, 'around16')], 'up16')
    m8 = b.add('add', [m8, up], 'wide8', act=True)
    outputs = []
    for s, m, score, box, look, points in zip(FaceNet.STRIDES, (m8, m16, m32), net.scores, net.boxes, net.looks, net.points):
        outputs.append(b.add('conv', [m], f'score{s}', (score.weight, score.bias)))
        outputs.append(b.add('conv', [m], f'box{s}', (box.weight, box.bias)))
        m = b.conv(look, m, f'look{s}') if hasattr(look, 'conv') else m
        outputs.append(b.add('conv', [m], f'points{s}', (points.weight, points.bias)))
    return Graph((3, facedata.H, facedata.W), b.ops, b.weights, outputs)


def by_stride(outputs):
    """The detector's outputs as face.py's nets give them: a tuple for each stride."""
    n = len(outputs) // len(FaceNet.STRIDES)
    return [tuple(outputs[i:i + n]) for i in range(0, len(outputs), n)]


class Face:
    """What is special about the detector."""

    def __init__(self, cache, teacher=None):
        self.pool = facedata.Pool(os.path.join(cache, 'facepool'))
        self.checkpoint, self.batch, self.net = 'face', face.BATCH, FaceNet
        self.graph = graph_of_face
        # Scores beyond ±8 are as sure as they get; boxes need their resolution where faces are, not in the far corners.
        self.cut = {None: .0005, 'score8': .0001, 'score16': .0001, 'score32': .0001}

    def pixels(self, index):
        return torch.from_numpy(self.pool.x[index]).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)

    def draw(self, rng):
        return rng.integers(facedata.HELD, len(self.pool), self.batch)

    def loss(self, graph, index, fake=True):
        with torch.no_grad():
            wanted = self.wanted(index)
        return face.loss_of(by_stride(graph(self.pixels(index), fake)), wanted)

    def wanted(self, index):
        return face.targets(torch.from_numpy(self.pool.boxes[index]), torch.from_numpy(self.pool.points[index]))

    def tighten(self, graph):
        """Ranges of the outputs by what they mean."""
        rng = np.random.default_rng(5)
        high, wide = {s: [] for s in FaceNet.STRIDES}, {s: [] for s in FaceNet.STRIDES}
        with torch.no_grad():
            for _ in range(12):
                index = self.draw(rng)
                for (_, box, points), (label, _, _), s in zip(by_stride(graph(self.pixels(index), False)), self.wanted(index), FaceNet.STRIDES):
                    high[s].append(box.permute(0, 2, 3, 1)[label >= 1].flatten())
                    wide[s].append(points.permute(0, 2, 3, 1)[label >= 1].flatten())
        for s in FaceNet.STRIDES:
            graph.ranges[f'box{s}'] = (0., float(torch.quantile(torch.cat(high[s]), .998)) * 1.05)
            low, up = torch.quantile(torch.cat(wide[s]), torch.tensor([.001, .999])).tolist()
            graph.ranges[f'points{s}'] = (low * 1.05, up * 1.05)
            low, up = graph.ranges[f'score{s}']
            graph.ranges[f'score{s}'] = (max(low, -8.), min(max(up, 2.), 8.))

    def report(self, graph, fake):
        class As(nn.Module):
            def forward(_, x):
                return by_stride(graph(x, fake))
        recall, wrong, error, gone = face.held_out(As(), self.pool)
        return f'recall {recall:.4f}, false {wrong:.4f} a frame, box error {error:.4f}, point error {gone:.4f}'


class Liveness:
    def __init__(self, cache, teacher=None):
        self.pool = crops.Pool(os.path.join(cache, 'pool'))
        self.teacher = liveness.teacher_of(teacher) if teacher else None
        self.checkpoint, self.batch, self.net = 'liveness', liveness.BATCH, LivenessNet
        self.graph = graph_of_liveness
        self.cut = {None: .0002, 'logits': .001}

    def pixels(self, index):
        return liveness.batch_of(self.pool, index)[0]

    def draw(self, rng):
        return rng.integers(liveness.HELD, len(self.pool), self.batch)

    def loss(self, graph, index, fake=True):
        x, tz, _, label = liveness.batch_of(self.pool, index)
        if self.teacher:
            with torch.no_grad():
                x = liveness.vary(x, label < 0)
                tz = self.teacher(x)[0]
        z = graph(x, fake)[0].flatten(1)
        none = torch.zeros(len(z), 1)  # the embedding isn't part of what ships
        return liveness.loss_of(z, none, tz, none, label)

    def tighten(self, graph):
        low, high = graph.ranges['logits']
        graph.ranges['logits'] = (max(low, -10.), min(high, 10.))

    def report(self, graph, fake):
        class As(nn.Module):
            def forward(_, x):
                return graph(x, fake)[0].flatten(1), None
        r, agree = liveness.held_out(As(), self.pool)
        return f'held-out correlation {r:.4f}, agreement {agree:.4f}'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('net', choices=('face', 'liveness'))
    parser.add_argument('cache', help='folder of pools and checkpoints')
    parser.add_argument('--minutes', type=float, default=8., help='of training with fake quantisation; 0: ranges alone')
    parser.add_argument('--teacher', help='liveness: folder of MiniFASNetV2\'s weights, to ask about varied crops as liveness.py does')
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '1')))
    torch.manual_seed(args.seed)
    task = {'face': Face, 'liveness': Liveness}[args.net](args.cache, args.teacher)
    state = torch.load(os.path.join(args.cache, task.checkpoint + '.pt'))
    net = task.net().eval()
    net.load_state_dict(state['average'])
    graph = task.graph(net)
    rng = np.random.default_rng(args.seed)
    graph.measure([task.pixels(task.draw(rng)) for _ in range(16)], task.cut)
    task.tighten(graph)
    lines = [f'{state["seen"]} samples in {state["spent"] / 60:.0f} min; float: {task.report(graph, False)}',
             f'int8, ranges alone: {task.report(graph, True)}']
    print(*lines, sep='\n', flush=True)
    # Adam's steps don't know that folding made the first convolution's weights a hundred times smaller than others.
    opt = torch.optim.Adam([{'params': [p], 'size': float(p.detach().pow(2).mean().sqrt())} for p in graph.parameters()])
    path = os.path.join(args.cache, args.net + '-tuning.pt')
    schedule = Schedule(path, args.minutes, graph, opt, warmup=50 * task.batch, decay=.99, of=[state['seen'], state['spent'], args.seed])
    rng, shown, run = np.random.default_rng([args.seed, schedule.seen]), time.monotonic(), 0.
    while schedule.going():
        schedule.rate(RATE)
        loss = task.loss(graph, task.draw(rng))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(graph.parameters(), 5.)
        opt.step()
        schedule.step(task.batch)
        run += (float(loss) - run) * .02 if run else float(loss)
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f'{schedule.seen} samples, loss {run:.4f}, {schedule.left()}', flush=True)
    if schedule.seen:
        graph.load_state_dict(schedule.average)
        lines.append(f'int8 after {schedule.seen} samples more: {task.report(graph, True)}')
        print(lines[-1], flush=True)
    graph.save(os.path.join(args.cache, args.net + '-int8.pt'), curve=lines, seen=state['seen'], spent=state['spent'],
               tuned=schedule.seen)
    if os.path.exists(path):
        os.remove(path)


if __name__ == '__main__':
    main()
