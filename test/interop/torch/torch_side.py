"""What PyTorch does in the tests: one JSON object a line in, one out.

{"do": "make", "folder": ..., "seed": ...}  saves random state dicts of every dtype and layout
{"do": "digest", "path": ...}               loads with weights_only=True, says what is in it
{"do": "run", "code": ..., ...}             runs code of a test, which sets `result`
"""
import collections
import hashlib
import json
import os
import pathlib
import random
import sys
import types
import warnings

import torch

warnings.filterwarnings("ignore")

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64,
]


def element_size(dtype):
    return torch.empty((), dtype=dtype).element_size()


def random_elements(count, dtype):
    """Of any bits: NaNs of every kind, infinities and denormals are among them."""
    if dtype == torch.bool:
        return torch.randint(0, 2, (count,)).bool()
    return torch.randint(0, 256, (count * element_size(dtype),), dtype=torch.uint8).view(dtype)


def random_layout(rng, dtype):
    def fresh(*shape):
        count = 1
        for size in shape:
            count *= size
        return random_elements(count, dtype).reshape(shape)

    a, b, c = rng.randint(1, 7), rng.randint(1, 7), rng.randint(1, 7)
    return {
        "contiguous": lambda: fresh(a, b),
        "scalar": lambda: fresh(1)[0],
        "empty": lambda: fresh(a, 0, b),
        "transposed": lambda: fresh(a, b).t(),
        "permuted": lambda: fresh(a, b, c, 2).permute(2, 0, 3, 1),
        "offset": lambda: fresh(a + b, c)[a:],
        "stepped": lambda: fresh(3 * a, b)[::3, :],
        "column": lambda: fresh(a, b)[:, -1],
        "expanded": lambda: fresh(1, b).expand(a, b),
        "overlapping": lambda: torch.as_strided(fresh(a + b), (a, b), (1, 1)),
        "channels_last": lambda: fresh(2, a, b, c).contiguous(memory_format=torch.channels_last),
        "parameter": lambda: torch.nn.Parameter(fresh(a, b), requires_grad=False),
        "many_dimensions": lambda: fresh(1, a, 1, 1, b, 1, 2, 1),
    }


def state_dict(rng):
    state = collections.OrderedDict()
    for dtype in DTYPES:
        for name, make in random_layout(rng, dtype).items():
            state[f"{str(dtype)[6:]}.{name}"] = make()
    shared = random_elements(24, torch.float32)
    state["shared.whole"] = shared
    state["shared.matrix"] = shared.reshape(4, 6)
    state["shared.part"] = shared[3:9]
    state["shared.again"] = shared
    state["größe/计数 'x'"] = random_elements(3, torch.int64)
    keys = list(state)
    rng.shuffle(keys)
    return collections.OrderedDict((key, state[key]) for key in keys)


def digest(tensor):
    flat = tensor.detach().contiguous().clone().reshape(-1)
    data = bytes(flat.storage().untyped().tolist()) if flat.numel() else b""
    sha = hashlib.sha256(data).hexdigest()
    return {"dtype": str(tensor.dtype)[6:], "shape": list(tensor.shape), "sha256": sha}


def digests(state):
    return {name: digest(tensor) for name, tensor in state.items()}


def make(folder, seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    files = []
    for protocol in [2, 3, 4, 5]:
        path = os.path.join(folder, f"{seed}-{protocol}.pt")
        state = state_dict(rng)
        torch.save(state, path, pickle_protocol=protocol)
        files.append({"path": path, "tensors": digests(state)})
    return files


def module(name, **members):
    """A module that only the tests have, so that a pickle can name what is in it."""
    made = types.ModuleType(name)
    for key, value in members.items():
        if isinstance(value, type):
            value.__module__ = name
        setattr(made, key, value)
    parts = name.split(".")
    for i in range(1, len(parts)):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    sys.modules[name] = made
    return made


def run(code, **given):
    scope = {
        "torch": torch, "digests": digests, "module": module, "collections": collections,
        "pathlib": pathlib, "given": given,
    }
    exec(code, scope)
    return scope.get("result")


print(json.dumps({"version": torch.__version__}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    do = request.pop("do")
    try:
        if do == "make":
            result = make(**request)
        elif do == "digest":
            result = digests(torch.load(request["path"], weights_only=True))
        else:
            result = run(**request)
        print(json.dumps({"result": result}), flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
