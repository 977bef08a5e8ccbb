"""C: a network as one C99 file that needs no heap and no library but libm."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..activations import ACTIVATIONS
from ..base.atomic import write_whole
from ..base.text import printable
from ..base.version import __version__
from ..model.mlp import MLP, check_model
from .chain import word

__all__ = ["to_c"]

# Expressions in z, none of which overflows where its value does not. "@" ends what float and double have each of their
# own: the functions' names and the literals.
_ACTIVATIONS = {
    "step": "z >= 0.0@ ? 1.0@ : 0.0@",
    "linear": "z",
    "sigmoid": "(z >= 0.0@ ? 1.0@ : exp@(z)) / (1.0@ + exp@(-fabs@(z)))",
    "tanh": "tanh@(z)",
    "relu": "z > 0.0@ ? z : 0.0@",
    "leaky_relu": "z > 0.0@ ? z : slope * z",
    "softmax": "",  # of whole rows: _SOFTMAX
    "swish": "z * (z >= 0.0@ ? 1.0@ : exp@(z)) / (1.0@ + exp@(-fabs@(z)))",
    "elu": "z > 0.0@ ? z : alpha * expm1@(z)",
    "selu": "z > 0.0@ ? 1.0507009873554805@ * z : 1.7580993408473766@ * expm1@(z)",
    "gelu": "0.5@ * z * erfc@(-0.70710678118654752@ * z)",
    "gelu_tanh": "z / (1.0@ + exp@(-1.5957691216057308@ * (z + 0.044715@ * z * z * z)))",
    "mish": "z * tanh@(fmax@(z, 0.0@) + log1p@(exp@(-fabs@(z))))",
    "softplus": "fmax@(z, 0.0@) + log1p@(exp@(-fabs@(z)))",
    "hard_tanh": "fmin@(fmax@(z, -1.0@), 1.0@)",
    "relu6": "fmin@(fmax@(z, 0.0@), 6.0@)",
    "hard_sigmoid": "fmin@(fmax@(z + 3.0@, 0.0@), 6.0@) / 6.0@",
    "hard_swish": "z * (fmin@(fmax@(z + 3.0@, 0.0@), 6.0@) / 6.0@)",
    "softsign": "z / (1.0@ + fabs@(z))",
    "sine": "sin@(z)",
}
_PER_LINE = 8  # numbers
_DENSE = """
/* z = w x + b, w one row after the other; b may be null */
static void NAME_dense(const REAL *w, const REAL *b, const REAL *x, int n_in, REAL *z, int n_out)
{
    int i, j;
    for (i = 0; i < n_out; ++i) {
        REAL sum = b ? b[i] : 0.0@;
        for (j = 0; j < n_in; ++j)
            sum += *w++ * x[j];
        z[i] = sum;
    }
}
"""
_SOFTMAX = """
static void NAME_softmax(REAL *z, int n)
{
    REAL top = z[0], sum = 0.0@;
    int i;
    for (i = 1; i < n; ++i)
        top = fmax@(top, z[i]);
    for (i = 0; i < n; ++i) {
        z[i] = exp@(z[i] - top);
        sum += z[i];
    }
    for (i = 0; i < n; ++i)
        z[i] /= sum;
}
"""
_TAKEN = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main alignas
alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept bitand bitor bool catch class compl concept
consteval constexpr constinit const_cast co_await co_return co_yield decltype delete dynamic_cast explicit export false
friend mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public reflexpr
reinterpret_cast requires static_assert static_cast synchronized template this thread_local throw true try typeid
typename typeof typeof_unqual using virtual wchar_t xor xor_eq fpclassify isfinite isinf isnan isnormal signbit
isgreater isgreaterequal isless islessequal islessgreater isunordered INFINITY NAN HUGE HUGE_VAL HUGE_VALF HUGE_VALL
MAXFLOAT DOMAIN SING OVERFLOW UNDERFLOW TLOSS PLOSS math_errhandling float_t double_t acos acosh asin asinh atan atan2
atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma fmax fmin fmod frexp hypot ilogb ldexp
lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint nextafter nexttoward pow remainder
remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma trunc drem exp10 finite gamma j0 j1 jn lgamma_r pow10
scalb signgam significand sincos y0 y1 yn linux unix i386 mips sparc sun near far abort abs aligned_alloc alloca assert
atexit atof atoi atol atoll bcmp bcopy bsearch bzero calloc clearerr cabs carg cimag clock conj cproj creal ctime
difftime div errno exit fclose feof ferror ffs fflush fgetc fgets fopen fprintf fputc fputs fread free freopen fscanf
fseek fsetpos ftell fwrite getc getchar getenv gets gmtime index isalnum isalpha isascii isblank iscntrl isdigit
isgraph islower isprint ispunct isspace isupper isxdigit labs ldiv llabs lldiv localtime longjmp malloc memchr memcmp
memcpy memmove mempcpy memset mktime perror printf putc putchar puts qsort raise rand realloc remove rename rewind
rindex scanf setbuf setjmp setlocale setvbuf signal snprintf sprintf srand sscanf stdin stdout stderr stpcpy strcasecmp
strcat strchr strcmp strcoll strcpy strcspn strdup strerror strftime strlen strncasecmp strncat strncmp strncpy strndup
strpbrk strrchr strspn strstr strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm system time tmpfile
tmpnam toascii tolower toupper ungetc vfprintf vfscanf vprintf vscanf vsnprintf vsprintf vsscanf cacos cacosh casin
casinh catan catanh ccos ccosh cexp clog clog10 cpow csin csinh csqrt ctan ctanh roundeven execl execle execlp execv
execve execvp fork ffsl ffsll posix_memalign stpncpy strnlen fputc_unlocked fputs_unlocked fwrite_unlocked
putc_unlocked putchar_unlocked iswalnum iswalpha iswblank iswcntrl iswdigit iswgraph iswlower iswprint iswpunct
iswspace iswupper iswxdigit towlower towupper iscanonical iseqsig issignaling issubnormal iszero
"""  # keywords of C and C++, main, what math.h has (functions also with f, l and 128 behind), names of the C library
_TAKEN_BEGINNINGS = ("FP_", "HUGE_VAL", "M_", "MATH_", "SNAN")  # of macros that math.h has, or may have one day


def to_c(model: MLP, path: str | os.PathLike[str], name: str = "net_predict", *, note: str = "") -> None:
    """Write a network as one C99 file: ``void net_predict(const float *x, float *out)``, for one sample.

    The file allocates nothing, keeps its weights ``static const`` (in flash, on a microcontroller), has no state, so
    that threads may share it, and needs ``-lm`` and nothing else. Its activations do not overflow. Shift and scale are
    inside. A float64 network takes and gives ``double``. Its head says how many bytes it takes.

    Parameters
    ----------
    model : MLP
    path : str or path
    name : str
        The function's name, and the beginning of all other names in the file, which are static.
    note : str
        What else its readers should know, such as what the inputs are: a comment at the file's end.

    Raises
    ------
    ValueError
        When the name is no identifier or is taken by C, when an activation is a user's own, when a parameter is not
        finite.

    Examples
    --------
    >>> import fastmlp, pathlib, tempfile
    >>> model = fastmlp.MLP([{"n": 4, "act": None}, {"n": 16, "act": "relu"}, {"n": 3, "act": "softmax"}], seed=0)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.c"
    >>> fastmlp.interop.to_c(model, path)
    >>> print(path.read_text().split("*/")[0])
    /* A fully connected network, written by fastmlp 0.1.0.
     *
     *   input    4
     *   layer 1  16 relu
     *   layer 2  3 softmax
     *
     * void net_predict(const float *x, float *out) takes one sample, 4 numbers, and writes 3.
     * x and out must not overlap. Weights: 524 bytes, constant. Buffers on the stack: 64 bytes. Link with -lm.
    <BLANKLINE>
    """
    check_model(model)
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {type(name).__name__}")
    stem = re.sub(r"(f|l|f\d+x?)(_r)?$", "", name)
    reserved = bool({name, stem} & {*_TAKEN.split()}) or name.startswith(_TAKEN_BEGINNINGS)
    if reserved or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be a C identifier, with a letter first, that C has not taken, got {name!r}")
    real, suffix = ("float", "f") if model.dtype == np.float32 else ("double", "")
    arrays = _arrays(model)
    steps, buffers = _steps(model, arrays)
    sizes = sum(array.nbytes for array in arrays.values()), sum(buffers.values()) * model.dtype.itemsize
    text = "".join(_sections(model, arrays, steps, buffers)).replace("@", suffix).replace("REAL", real)
    text = _head(model, f"void {name}(const {real} *x, {real} *out)", *sizes) + text.replace("NAME", name)
    write_whole(Path(path), (text + _comment(note)).encode())


def _comment(note: str) -> str:
    """Return a note as a comment of C, or nothing."""
    return "\n/* " + "\n * ".join(map(_tame, note.splitlines())) + "\n */\n" if note else ""


def _tame(text: str) -> str:
    """Put blanks into what would begin or end a comment or a trigraph, and make every character one that shows."""
    text = printable(text)
    return re.sub(r"(?<=[*/?])(?=[*/?])", " ", text)


def _sections(
    model: MLP, arrays: Mapping[str, np.ndarray], steps: Sequence[str], buffers: Mapping[str, int]
) -> Iterator[str]:
    """Yield the code, section by section, with @, REAL and NAME where it depends on dtype and name."""
    acts = {layer.act.name: word(_ACTIVATIONS, layer.act, "C") for layer in model.spec.layers}
    yield "#include <math.h>\n\nvoid NAME(const REAL *x, REAL *out);\n"
    for key, array in arrays.items():
        numbers = [f"{number}@" for number in array.ravel().astype(str)]  # with as many digits as tell it from others
        lines = [", ".join(numbers[i : i + _PER_LINE]) for i in range(0, len(numbers), _PER_LINE)]
        yield f"\nstatic const REAL NAME_{key}[{array.size}] = {{\n" + ",\n".join(lines) + "\n};\n"
    yield _DENSE
    for act, expression in acts.items():
        if act == "softmax":
            yield _SOFTMAX
        elif act != "linear":
            setting = ACTIVATIONS[act].traits.setting
            setting = f", REAL {setting}" if setting else ""
            yield f"\nstatic REAL NAME_{act}(REAL z{setting})\n{{\n    return {expression};\n}}\n"
    declarations = [f"REAL {key}[{n}];" for key, n in buffers.items()]
    declarations += ["int i;"] if any("for" in step for step in steps) else []
    body = "".join(f"    {line}\n" for line in [*declarations, *steps])
    yield f"\nvoid NAME(const REAL *x, REAL *out)\n{{\n{body}}}\n"


def _arrays(model: MLP) -> dict[str, np.ndarray]:
    """Return the file's constant arrays by the last words of their names: shift, scale, w1, b1, …."""
    spec = model.spec
    arrays = {}
    for key, values in (("shift", spec.shift), ("scale", spec.scale)):
        if values is not None:
            arrays[key] = np.array(values, model.dtype)
    for i, (layer, weights, biases) in enumerate(zip(spec.layers, model.weights, model.biases, strict=True), 1):
        arrays[f"w{i}"] = weights
        if layer.bias:
            arrays[f"b{i}"] = biases
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the model has numbers that are NaN or infinite, in {key}")
    return arrays


def _steps(model: MLP, arrays: Mapping[str, np.ndarray]) -> tuple[list[str], dict[str, int]]:
    """Return the statements of the function, and the lengths of the two buffers that layers use in turn."""
    steps: list[str] = []
    buffers: dict[str, int] = {}
    source, n_source = "x", model.spec.n_in

    def free_buffer(n: int) -> str:
        other = "b" if source == "a" else "a"
        buffers[other] = max(n, buffers.get(other, 0))
        return other

    def each(target: str, n: int, value: str) -> str:
        return f"for (i = 0; i < {n}; ++i)\n        {target}[i] = {value};"

    of_input = {key: f"NAME_{key}[{'i' if len(arrays[key]) > 1 else 0}]" for key in ("shift", "scale") if key in arrays}
    if of_input:
        shifted = f"(x[i] - {of_input['shift']})" if "shift" in of_input else "x[i]"
        target = free_buffer(n_source)
        steps.append(each(target, n_source, " * ".join([shifted, *list(of_input.values())["shift" in of_input :]])))
        source = target
    for i, layer in enumerate(model.spec.layers, 1):
        target = "out" if i == len(model.spec.layers) else free_buffer(layer.n)
        biases = f"NAME_b{i}" if layer.bias else "0"
        steps.append(f"NAME_dense(NAME_w{i}, {biases}, {source}, {n_source}, {target}, {layer.n});")
        if not layer.act.elementwise:
            steps.append(f"NAME_softmax({target}, {layer.n});")
        elif layer.act.name != "linear":
            slope = "" if layer.act.slope is None else f", {model.dtype.type(layer.act.slope)!s}@"
            steps.append(each(target, layer.n, f"NAME_{layer.act.name}({target}[i]{slope})"))
        source, n_source = target, layer.n
    return steps, buffers


def _head(model: MLP, function: str, n_weights: int, n_buffers: int) -> str:
    """Return the comment at the file's beginning, for weights and buffers of that many bytes."""
    spec = model.spec
    scaled = [text for text, v in (("x - shift", spec.shift), ("times scale", spec.scale)) if v is not None]
    lines = [
        f"A fully connected network, written by fastmlp {__version__}.",
        "",
        f"  input    {spec.n_in}" + (f" ({', '.join(scaled)})" if scaled else ""),
        *(f"  layer {i}  {layer.n} {layer.act.name}" for i, layer in enumerate(spec.layers, 1)),
        "",
        *textwrap.wrap(_outputs(model), 110),
        f"{function} takes one sample, {spec.n_in} numbers, and writes {spec.n_out}.",
        f"x and out must not overlap. Weights: {n_weights} bytes, constant. Buffers on the stack: {n_buffers} bytes. "
        "Link with -lm.",
    ]
    return "/* " + "\n *".join(f" {line}".rstrip() for line in lines).lstrip() + "\n */\n\n"


def _outputs(model: MLP) -> str:
    """Return a sentence that names the outputs, in ASCII, or nothing."""
    if model.class_names is None:
        return ""
    names = [_tame(json.dumps(name)) for name in model.class_names]
    if model.spec.n_out == 1:
        return f"out[0] is the probability of {names[1]}, against {names[0]}."
    return "; ".join(f"out[{i}] is {name}" for i, name in enumerate(names)) + "."
