"""The nets that ship: shapes that TFLite's int8 kernels and the Edge TPU compiler like.

Full 3×3 convolutions, ReLU6 fused, additions, TFLite's SAME padding (0/1 where a stride of 2 meets an even size), logits
out. Inputs are raw pixels 0…255.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Conv(nn.Module):
    """Convolution, batch norm, and ReLU6 unless told otherwise."""

    def __init__(self, i, o, k=3, stride=1, act=True, pad=True):
        super().__init__()
        self.pad = pad and stride == 2
        self.conv = nn.Conv2d(i, o, k, stride, k // 2 if stride == 1 else 0, bias=False)
        self.bn = nn.BatchNorm2d(o)
        self.act = act

    def forward(self, x):
        if self.pad:
            x = F.pad(x, (0, 1, 0, 1))
        x = self.bn(self.conv(x))
        return F.relu6(x) if self.act else x


class Residual(nn.Module):
    """x + conv(x), then ReLU6: fused into the addition."""

    def __init__(self, c):
        super().__init__()
        self.body = Conv(c, c, act=False)

    def forward(self, x):
        return F.relu6(x + self.body(x))


class LivenessNet(nn.Module):
    """80×80×3 to three logits (class 1 is live). The embedding is for training alone."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            Conv(3, 16, stride=2, pad=False),  # 40
            Residual(16),
            Conv(16, 48, stride=2),  # 20
            Residual(48),
            Residual(48),
            Conv(48, 96, stride=2),  # 10
            Residual(96),
            Conv(96, 128, stride=2),  # 5
            Conv(128, 256, 1),
        )
        self.pool = nn.Conv2d(256, 256, 5, groups=256, bias=False)  # as the teacher: learns where to look
        self.bn = nn.BatchNorm2d(256)
        self.head = nn.Linear(256, 3)
        # For training alone: the teacher's embedding is a linear view of ours, and so are its feature maps.
        self.embed = nn.Linear(256, 128)
        self.hints = nn.ModuleDict({'4': nn.Conv2d(48, 64, 3, padding=1), '6': nn.Conv2d(96, 128, 3, padding=1),
                                    '8': nn.Conv2d(256, 128, 3, padding=1)})

    def forward(self, x, maps=None):
        """Logits and embedding; what the hints make of the feature maps is appended to maps."""
        # Padded while the pixels are raw: the int8 net pads with its zero point, which is pixel 0. The fixed scale is folded
        # into the first convolution on export.
        x = (F.pad(x, (0, 1, 0, 1)) - 127.5) / 64
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if maps is not None and str(i) in self.hints:
                maps.append(self.hints[str(i)](x))
        f = F.relu6(self.bn(self.pool(x)).flatten(1))
        return self.head(f), self.embed(f)


def macs(net, h, w):
    """Multiply-accumulates of one forward pass."""
    n = 0

    def count(m, i, o):
        nonlocal n
        if isinstance(m, nn.Conv2d):
            n += o.numel() * m.weight[0].numel()
        elif isinstance(m, nn.Linear):
            n += m.weight.numel()
    hooks = [m.register_forward_hook(count) for m in net.modules()]
    training = net.training
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, h, w))
    net.train(training)
    for h in hooks:
        h.remove()
    return n


class FaceNet(nn.Module):
    """160×224×3 to, for each stride of 8, 16 and 32: a face logit, four distances (left, top, right, bottom) and five points (x, y) in
    strides."""

    STRIDES = (8, 16, 32)

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 8, stride=2, pad=False), Conv(8, 20, stride=2))
        self.s8 = nn.Sequential(Conv(20, 36, stride=2), Residual(36))
        self.s16 = nn.Sequential(Conv(36, 64, stride=2), Residual(64))
        self.s32 = nn.Sequential(Conv(64, 96, stride=2), Residual(96))
        self.down32 = Conv(96, 64, 1, act=False)  # what the coarse maps know of the surroundings
        self.down16 = Conv(64, 36, 1, act=False)
        self.scores = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in (36, 64, 96))
        self.boxes = nn.ModuleList(nn.Conv2d(c, 4, 1) for c in (36, 64, 96))
        self.looks = nn.ModuleList((nn.Identity(), Conv(64, 32, 1), Conv(96, 64, 1)))  # at small faces there isn't much to look at
        self.points = nn.ModuleList(nn.Conv2d(c, 10, 1) for c in (36, 32, 64))
        for s in self.scores:
            nn.init.constant_(s.bias, -4.)  # faces are rare
        for b in self.boxes:
            nn.init.constant_(b.bias, 1.)

    def forward(self, x):
        x = self.stem((F.pad(x, (0, 1, 0, 1)) - 127.5) / 64)
        a = self.s8(x)
        b = self.s16(a)
        c = self.s32(b)
        b = F.relu6(b + F.interpolate(self.down32(c), scale_factor=2, mode='bilinear', align_corners=False))
        a = F.relu6(a + F.interpolate(self.down16(b), scale_factor=2, mode='bilinear', align_corners=False))
        return [(s(f), d(f), p(l(f))) for f, s, d, l, p in zip((a, b, c), self.scores, self.boxes, self.looks, self.points)]
