"""For chips without an operating system: a network as one C file, in floats and 8-bit integers, compiled and checked.

The pictures are real: handwritten digits of 8 × 8 pixels, which come with fastmlp. Both files are compiled by the C
compiler of this machine and read the pictures that training has not seen. They have no heap and keep their weights in
read-only memory; the integer one needs no floating-point unit either.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.datasets import load_digits
from fastmlp.interop import to_c

(x, y), (x_test, y_test) = load_digits(test_fraction=0.3)
spec = [{"n": 64, "act": None, "scale": 1 / 16}, {"n": 24, "act": "relu"}, {"n": 10, "act": "softmax"}]
model = fastmlp.train(x, y, spec, lr=0.02, epochs=30, l2=1e-4, seed=0).model
accuracy = model.evaluate(x_test, y_test)["accuracy"]
print(f"Python:  {accuracy:.2%} of {len(y_test)} unseen digits are read correctly, by {model.params.size} parameters")

MAIN = """
#include <stdio.h>
#include "digit.h"

#ifdef DIGIT_X_SCALES /* integers: a number is scale * (q - zero) */
typedef int8_t number;
static const float scales[] = DIGIT_X_SCALES, out_scales[] = DIGIT_OUT_SCALES;
static const int zeros[] = DIGIT_X_ZEROS, out_zeros[] = DIGIT_OUT_ZEROS;
static number in(float value, int i) { return (number)(value / scales[i] + zeros[i] + 0.5f); }
static float out(number value, int i) { return out_scales[i] * (value - out_zeros[i]); }
#else
typedef float number;
static number in(float value, int i) { (void)i; return value; }
static float out(number value, int i) { (void)i; return value; }
#endif

int main(void)
{
    number x[DIGIT_N_IN], y[DIGIT_N_OUT];
    for (;;) {
        for (int i = 0; i < DIGIT_N_IN; ++i) {
            float value;
            if (scanf("%f", &value) != 1)
                return 0;
            x[i] = in(value, i);
        }
        digit(x, y);
        int best = 0;
        for (int i = 1; i < DIGIT_N_OUT; ++i)
            if (out(y[i], i) > out(y[best], best))
                best = i;
        printf("%d\\n", best);
    }
}
"""
compiler = shutil.which("gcc") or shutil.which("cc")
pictures = "\n".join(" ".join(map(str, row)) for row in x_test)
for dtype in "float32", "int8":
    with tempfile.TemporaryDirectory() as folder:
        source, main, program = Path(folder, "digit.c"), Path(folder, "main.c"), Path(folder, "digit")
        to_c(model, source, name="digit", dtype=dtype, calibrate=x if dtype == "int8" else None)
        print(f"C of {dtype}, whose head says:")
        for line in source.read_text().splitlines():
            if line.startswith((" * x and out", " * Largest error")):
                print(f"   {line[2:]}")
        if compiler is None:
            print("    not tried: there is no C compiler here")
            continue
        main.write_text(MAIN)
        flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, *flags, source, main, "-o", program, "-lm"], check=True)
        answer = subprocess.run([program], input=pictures, capture_output=True, text=True, check=True).stdout
        digits = np.array(answer.split(), int)
        right, same = np.mean(digits == y_test), np.mean(digits == model.predict_class(x_test))
        print(f"    {right:.2%} right, the same digit as Python for {same:.2%}")
        assert abs(right - accuracy) < 0.01
