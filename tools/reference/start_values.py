"""The numbers that a stage of S3T starts from, for the scripts beside this one."""

import numpy as np
import torch

KEY = [0x12345678, 0x9ABCDEF0]


def philox(counter, key):
    """Philox-4x32-10 (Salmon et al. 2011), written from the paper."""
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k1, a & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def uniform(shape, bound, stream):
    """The start values of S3T: 24 bits a number, in [-bound, bound)."""
    count = int(np.prod(shape))
    words = [w for i in range((count + 3) // 4) for w in philox([i, 0, stream, 1], KEY)][:count]
    return torch.tensor([((w >> 8) / 2**23 - 1) * bound for w in words], dtype=torch.float32).reshape(shape)
