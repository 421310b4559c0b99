"""MiniFASNetV2 (Silent-Face-Anti-Spoofing, Apache-2.0) as a torch module, read from its published weights: the teacher.

Nothing of the weights goes into what ships; the student learns only from what this net answers. Input: BGR, raw 0…255,
1×3×80×80. forward gives the three logits (class 1 is live) and the 128-d embedding before them.
"""
import torch
import torch.nn as nn


class Unit(nn.Module):
    """Convolution, batch norm and, where the weights have one, PReLU."""

    def __init__(self, sd, name, stride=1, padding=0):
        super().__init__()
        w = sd[name + '.conv.weight']
        depthwise = w.shape[1] == 1 and w.shape[0] > 1 and w.shape[2] > 1
        self.conv = nn.Conv2d(w.shape[0] if depthwise else w.shape[1], w.shape[0], w.shape[2], stride, padding,
                              groups=w.shape[0] if depthwise else 1)
        # Batch norm is folded: the teacher only answers.
        g = sd[name + '.bn.weight'] / torch.sqrt(sd[name + '.bn.running_var'] + 1e-5)
        self.conv.weight.data = w * g[:, None, None, None]
        self.conv.bias.data = sd[name + '.bn.bias'] - sd[name + '.bn.running_mean'] * g
        self.act = None
        if name + '.prelu.weight' in sd:
            self.act = nn.PReLU(w.shape[0])
            self.act.weight.data = sd[name + '.prelu.weight']

    def forward(self, x):
        x = self.conv(x)
        return self.act(x) if self.act else x


class Depthwise(nn.Module):
    """Pointwise, depthwise, pointwise; residual where the shape stays."""

    def __init__(self, sd, name, stride, residual):
        super().__init__()
        self.expand = Unit(sd, name + '.conv')
        self.dw = Unit(sd, name + '.conv_dw', stride, 1)
        self.project = Unit(sd, name + '.project')
        self.residual = residual

    def forward(self, x):
        y = self.project(self.dw(self.expand(x)))
        return x + y if self.residual else y


class MiniFASNetV2(nn.Module):
    HINTS = (6, 13, 16)  # the last layers at 20×20, 10×10 and 5×5

    def __init__(self, path):
        super().__init__()
        sd = {k.removeprefix('module.'): v for k, v in torch.load(path, map_location='cpu').items()}
        layers = [Unit(sd, 'conv1', 2, 1), Unit(sd, 'conv2_dw', 1, 1)]
        for stage, blocks in (('23', '3'), ('34', '4'), ('45', '5')):
            layers.append(Depthwise(sd, 'conv_' + stage, 2, False))
            i = 0
            while f'conv_{blocks}.model.{i}.conv.conv.weight' in sd:
                layers.append(Depthwise(sd, f'conv_{blocks}.model.{i}', 1, True))
                i += 1
        layers += [Unit(sd, 'conv_6_sep'), Unit(sd, 'conv_6_dw')]
        self.features = nn.Sequential(*layers)
        g = sd['bn.weight'] / torch.sqrt(sd['bn.running_var'] + 1e-5)
        self.embed = nn.Linear(512, 128)
        self.embed.weight.data = sd['linear.weight'] * g[:, None]
        self.embed.bias.data = sd['bn.bias'] - sd['bn.running_mean'] * g
        if 'linear.bias' in sd:
            self.embed.bias.data += sd['linear.bias'] * g
        self.head = nn.Linear(128, 3, bias=False)
        self.head.weight.data = sd['prob.weight']
        self.eval()
        for p in self.parameters():
            p.requires_grad_(False)

    def forward(self, x, maps=None):
        """Logits and embedding; the feature maps of HINTS are appended to maps."""
        for i, layer in enumerate(self.features):
            x = layer(x)
            if maps is not None and i in self.HINTS:
                maps.append(x)
        e = self.embed(x.flatten(1))
        return self.head(e), e
