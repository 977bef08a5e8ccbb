"""From Python to a microcontroller: train on sensor windows, write one C file, and check it with the C compiler.

The task is to tell how a hand moves a sensor (still, waving, circling, shaking) from 16 readings of two axes. The file
that comes out has no heap, no library but libm and its weights in read-only memory.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.interop import to_c

MOVES = ["still", "waving", "circling", "shaking"]
rng = np.random.default_rng(0)


def windows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Readings (n, 32), 16 of each axis, and which move they are."""
    move = rng.integers(0, len(MOVES), n)
    pace, begin = rng.uniform(0.3, 0.5, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
    phase = begin + pace * np.arange(16) * np.where(move == 3, 4, 1)[:, None]
    across = np.where(move == 0, 0, 1)[:, None] * np.sin(phase)
    along = np.where(move == 2, 1, 0)[:, None] * np.cos(phase)
    return np.concatenate([across, along], axis=1) + 0.4 * rng.normal(size=(n, 32)), move


x, y = windows(4000)
x_test, y_test = windows(2000)
spec = [{"n": 32, "act": None}, {"n": 12, "act": "relu"}, {"n": len(MOVES), "act": "softmax"}]
model = fastmlp.train(x, y, spec, lr=0.02, epochs=20, l2=1e-4, seed=0).model
accuracy = model.evaluate(x_test, y_test)["accuracy"]
print(f"{100 * accuracy:.1f} % of unseen windows right, {model.params.size} parameters, {4 * model.params.size} bytes")
assert accuracy > 0.9

MAIN = """
#include <stdio.h>
void move_predict(const float *x, float *out);
int main(void)
{
    float x[32], out[4];
    for (;;) {
        for (int i = 0; i < 32; ++i)
            if (scanf("%f", x + i) != 1)
                return 0;
        move_predict(x, out);
        printf("%.9g %.9g %.9g %.9g\\n", out[0], out[1], out[2], out[3]);
    }
}
"""
with tempfile.TemporaryDirectory() as folder:
    source = Path(folder, "move.c")
    to_c(model, source, name="move_predict")
    print(f"{source.name}: {source.stat().st_size / 1000:.1f} kB of C, which begins")
    print("".join(f"    {line}\n" for line in source.read_text().splitlines()[:6]), end="")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("there is no C compiler here to try it with")
    else:
        Path(folder, "main.c").write_text(MAIN)
        flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
        program = Path(folder, "move")
        subprocess.run([compiler, *flags, source, Path(folder, "main.c"), "-o", program, "-lm"], check=True)
        readings = x_test[:500].astype(np.float32)
        given = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in readings)
        answer = subprocess.run([program], input=given, capture_output=True, text=True, check=True).stdout
        outputs = np.array(answer.split(), float).reshape(-1, len(MOVES))
        difference = np.abs(outputs - model.predict(readings)).max()
        print(f"compiled by {Path(compiler).name}: 500 windows, the largest difference from Python is {difference:.1e}")
        assert difference < 5e-6
