"""Networks as functions in PyTorch, of parameters and inputs."""

from fastnn import (
    GLU,
    Activation,
    BatchNorm,
    Dense,
    Embed,
    Heads,
    LayerNorm,
    PReLU,
    Repeat,
    Residual,
    Scale,
)


def twin_of(torch, net, training=False):
    """Return f(parameters, x), the outputs of a network for one row or many, and its parameters.

    ``training``: f is the raw outputs of all members, BatchNorm takes the statistics of all rows.
    """
    functional = torch.nn.functional
    known = {"identity": lambda z: z, "relu": torch.relu, "tanh": torch.tanh,
             "sigmoid": torch.sigmoid, "gelu": functional.gelu, "silu": functional.silu,
             "softplus": functional.softplus, "elu": functional.elu, "exp": torch.exp,
             "leaky_relu": functional.leaky_relu, "selu": functional.selu,
             "mish": functional.mish, "hard_tanh": functional.hardtanh,
             "hard_sigmoid": lambda z: torch.clamp(z + 3, 0, 6) / 6, "relu6": functional.relu6,
             "softmax": lambda z: torch.softmax(z, dim=-1)}

    def apply(layers, x, left):
        for layer in layers:
            if isinstance(layer, Dense):
                x = known[layer.activation](x @ left.pop(0) + left.pop(0))
            elif isinstance(layer, Embed):
                w, b = torch.split(left.pop(0), layer.counts), left.pop(0)
                parts = torch.split(x, layer.counts, dim=-1)
                x = torch.cat([part @ own for part, own in zip(parts, w, strict=True)], -1) + b
            elif isinstance(layer, GLU):
                u, v = x.chunk(2, dim=-1)
                x = u * known[layer.activation](v)
            elif isinstance(layer, Repeat):
                x = x.unsqueeze(-2) * left.pop(0)  # (..., members, n)
            elif isinstance(layer, Heads):
                w, b = left.pop(0).reshape(layer.members, -1, layer.units), left.pop(0)
                x = torch.einsum("...mi,mij->...mj", x, w) + b
            elif isinstance(layer, LayerNorm):
                gain, bias = left.pop(0), left.pop(0)
                x = functional.layer_norm(x, x.shape[-1:], gain, bias, layer.eps)
            elif isinstance(layer, BatchNorm):
                gain, bias, mean, variance = (left.pop(0) for _ in range(4))
                if training:
                    rows = tuple(range(x.ndim - 1))
                    mean, variance = x.mean(dim=rows), x.var(dim=rows, unbiased=False)
                x = gain * (x - mean) / torch.sqrt(variance + layer.eps) + bias
            elif isinstance(layer, Scale):
                x = x * left.pop(0)
            elif isinstance(layer, PReLU):
                x = torch.where(x > 0, x, x * left.pop(0))
            elif isinstance(layer, Residual):
                x = x + apply(layer.layers, x, left)
            elif isinstance(layer, Activation):
                x = known[layer.name](x)
        return x

    def outputs(parameters, x):
        z = apply(net.spec.layers, x, list(parameters))
        if training:
            return z
        found = known[net.output](z)
        return found.mean(dim=-2) if isinstance(net.spec.layers[-1], Heads) else found

    return outputs, tuple(torch.tensor(w) for w in net.get_weights())
