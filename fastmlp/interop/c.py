"""C: a network as one C99 file with a header, which needs no heap, and no library except libm."""

from __future__ import annotations

import json
import os
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..base.atomic import write_whole
from ..base.checks import check_choice, check_flag
from ..base.text import printable
from ..base.version import __version__
from ..model.data import check_x
from ..model.mlp import MLP, check_model
from ..spec import Layer
from .c_check import NotChecked, compiled
from .c_int8 import Integers, gives_scores
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
# f'(z): an expression, or statements that end in one.
_E = "exp@(-fabs@(z))"
_LOGISTIC = f"(z >= 0.0@ ? 1.0@ : {_E}) / (1.0@ + {_E})"
_DERIVATIVES = {
    "step": "0.0@ * z",
    "linear": "",  # nothing is multiplied
    "sigmoid": f"{_E} / ((1.0@ + {_E}) * (1.0@ + {_E}))",
    "tanh": "const REAL e = exp@(-2.0@ * fabs@(z));\n    return 4.0@ * e / ((1.0@ + e) * (1.0@ + e))",
    "relu": "z > 0.0@ ? 1.0@ : 0.0@",
    "leaky_relu": "z > 0.0@ ? 1.0@ : slope",
    "softmax": "",  # of whole rows: _SOFTMAX_BACKWARD
    "swish": f"const REAL e = {_E};\n    return {_LOGISTIC} + z * e / ((1.0@ + e) * (1.0@ + e))",
    "elu": "z > 0.0@ ? 1.0@ : alpha * exp@(z)",
    "selu": "z > 0.0@ ? 1.0507009873554805@ : 1.7580993408473766@ * exp@(z)",
    "gelu": "0.5@ * erfc@(-0.70710678118654752@ * z) + z * 0.39894228040143268@ * exp@(-0.5@ * z * z)",
    "gelu_tanh": "const REAL c = fmax@(fmin@(z, 22.0@), -22.0@);\n"
    "    const REAL w = c * (1.5957691216057308@ + 0.071354816272600252@ * c * c), e = exp@(-fabs@(w));\n"
    "    return (z >= 0.0@ ? 1.0@ : e) / (1.0@ + e)\n"
    "        + z * e / ((1.0@ + e) * (1.0@ + e)) * (1.5957691216057308@ + 0.21406444881780076@ * c * c)",
    "mish": f"const REAL e = {_E}, t = tanh@(fmax@(z, 0.0@) + log1p@(e));\n"
    f"    return t + z * (1.0@ - t * t) * {_LOGISTIC}",
    "softplus": _LOGISTIC,
    "hard_tanh": "fabs@(z) < 1.0@ ? 1.0@ : 0.0@",
    "relu6": "z > 0.0@ && z < 6.0@ ? 1.0@ : 0.0@",
    "hard_sigmoid": "fabs@(z) < 3.0@ ? 1.0@ / 6.0@ : 0.0@",
    "hard_swish": "fabs@(z) < 3.0@ ? (z + z + 3.0@) / 6.0@ : (z > 0.0@ ? 1.0@ : 0.0@)",
    "softsign": "1.0@ / ((1.0@ + fabs@(z)) * (1.0@ + fabs@(z)))",
    "sine": "cos@(z)",
}
_PER_LINE = 8  # numbers
_WIDEST = 110  # characters of a macro's line
_MOST_DERIVATIVES = 1 << 24  # that are compared with the model's
_OTHER = "$"  # the place of the function that writes derivatives
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
_DENSE_BACKWARD = """
/* below = transposed w times delta */
static void NAME_dense_backward(const REAL *w, const REAL *delta, int n_out, REAL *below, int n_in)
{
    int i, j;
    for (j = 0; j < n_in; ++j)
        below[j] = 0.0@;
    for (i = 0; i < n_out; ++i)
        for (j = 0; j < n_in; ++j)
            below[j] += delta[i] * *w++;
}
"""
_SOFTMAX_BACKWARD = """
static void NAME_softmax_backward(const REAL *a, REAL *delta, int n)
{
    REAL mean = 0.0@;
    int i;
    for (i = 0; i < n; ++i)
        mean += a[i] * delta[i];
    for (i = 0; i < n; ++i)
        delta[i] = a[i] * (delta[i] - mean);
}
"""
_INT8_DENSE = """
/* sums of 32 bits, in units of each row's own; a multiplication and a shift make 8 bits of them */
static void NAME_dense(const int8_t *w, const int32_t *b, const int32_t *m, const uint8_t *s, const int8_t *x, int n_in,
                       int8_t *z, int n_out)
{
    int i, j;
    for (i = 0; i < n_out; ++i) {
        int32_t sum = b[i];
        int64_t q;
        for (j = 0; j < n_in; ++j)
            sum += (int32_t)*w++ * x[j];
        q = (int64_t)sum * m[i] + ((int64_t)1 << (s[i] - 1));
        q = q >= 0 ? q >> s[i] : ~(~q >> s[i]); /* rounded down, whatever the compiler shifts in */
        z[i] = (int8_t)(q < -128 ? -128 : (q > 127 ? 127 : q));
    }
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
iswspace iswupper iswxdigit NULL EOF FILE BUFSIZ SEEK_SET SEEK_CUR SEEK_END EXIT_SUCCESS EXIT_FAILURE
CLOCKS_PER_SEC complex imaginary I offsetof va_arg va_copy va_end va_start size_t ptrdiff_t wint_t towlower towupper
iscanonical iseqsig issignaling issubnormal iszero
"""  # keywords of C and C++, main, what math.h has (functions also with f, l and 128 behind), and the C library
# Types of stdint.h, and limits that it, limits.h, float.h and others have.
_TAKEN_FORMS = r"u?int\w*_t|[A-Z0-9_]+_(MIN|MAX|WIDTH|BIT|DIG|EPSILON|C)"
_TAKEN_BEGINNINGS = ("FP_", "HUGE_VAL", "M_", "MATH_", "SNAN")  # of macros that math.h has, or may have one day


def to_c(
    model: MLP,
    path: str | os.PathLike[str],
    name: str = "net_predict",
    *,
    dtype: str | None = None,
    calibrate: Any = None,
    check: Any = None,
    jacobian: bool = False,
    note: str = "",
) -> None:
    """Write a network as one C99 file: ``void net_predict(const float *x, float *out)``, for one sample.

    The file allocates nothing, keeps its weights ``static const`` (in flash, on a microcontroller), has no state, so
    that threads may share it, and needs only ``-lm``. Its activations do not overflow. It contains shift and scale. Its
    first comment says how many bytes it takes. Then come macros with the sizes and, if the model has them, the names of
    inputs (``feature_names``, or ``metadata["columns"]``) and classes (``class_names``). A header, ``.h``, is written
    beside it.

    Parameters
    ----------
    model : MLP
        The network.
    path : str or path
        The C file.
    name : str
        The function's name, with which all other names in the file begin; these are static.
    dtype : {"float32", "float64", "int8"}, optional
        The type of the function's inputs and outputs: ``float``, ``double`` or ``int8_t``; the model's when left out.
        "int8" computes with integers only, and links to nothing: a number is ``scale * (q - zero)``, with macros for
        the scales and zeros of inputs and outputs, which contain shift and scale. The probabilities of a last softmax
        or sigmoid are not computed: the outputs are its inputs, the scores. The first comment states the error.
    calibrate : array, (n_samples, n_in), optional
        For "int8": typical samples, from which the ranges of all numbers are found.
    check : array, (n_samples, n_in), optional
        Samples on which the file, compiled by the system's compiler, is compared with ``predict``. The first comment
        then has the largest difference; without a compiler it has "not checked", and a warning says why.
    jacobian : bool
        Whether the file also has ``void net_jacobian(const float *x, float *out, float *jac)``, which writes the
        outputs and their derivatives by the inputs, (n_out, n_in). Its name is ``name``, in which "jacobian" replaces a
        final "predict", or is appended.
    note : str
        Further information for readers, such as what the inputs are: a comment at the beginning of the file.

    Raises
    ------
    ValueError
        When the name is not an identifier or is taken by C, for a custom activation, when a parameter is not finite,
        and when "int8" has neither calibrate nor check.

    Examples
    --------
    >>> import fastmlp, pathlib, tempfile
    >>> model = fastmlp.MLP([{"n": 4, "act": None}, {"n": 16, "act": "relu"}, {"n": 3, "act": "softmax"}], seed=0)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.c"
    >>> fastmlp.interop.to_c(model, path)
    >>> print(path.read_text().split("#include")[0])
    /* A fully connected network, written by fastmlp 0.1.0.
     *
     *   input    4
     *   layer 1  16 relu
     *   layer 2  3 softmax
     *
     * void net_predict(const float *x, float *out) takes one sample, 4 numbers, and writes 3.
     * x and out must not overlap. Weights: 524 bytes, constant. Buffers on the stack: 64 bytes. Link with -lm.
     */
    <BLANKLINE>
    #define NET_PREDICT_N_IN 4
    #define NET_PREDICT_N_OUT 3
    <BLANKLINE>
    <BLANKLINE>
    """
    check_model(model)
    _check_name(name)
    path = Path(path)
    if path.suffix.lower() == ".h":
        other = os.fspath(path.with_suffix(".c"))
        raise ValueError(f"path must not end in .h, got {os.fspath(path)!r}; give {other!r}, which gets a header")
    kind = model.dtype.name if dtype is None else check_choice(dtype, "dtype", ("float32", "float64", "int8"))
    if calibrate is not None and kind != "int8":
        raise ValueError(f'calibrate is for dtype="int8"; a file of {kind} has nothing to calibrate')
    if check_flag(jacobian, "jacobian") and kind == "int8":
        raise ValueError('jacobian=True is for files of float32 and float64; dtype="int8" has no derivatives')
    if not isinstance(note, str):
        raise TypeError(f"note must be a string, got {type(note).__name__}")
    rows = {key: _rows(model, x, key) for key, x in (("calibrate", calibrate), ("check", check)) if x is not None}
    if kind == "int8":
        if not rows:
            raise ValueError('dtype="int8" needs samples to choose the ranges of numbers by: calibrate=x, or check=x')
        source: _Source = _IntegerSource(model, name, next(iter(rows.values())))
    else:
        source = _RealSource(model, name, np.dtype(kind), jacobian)
    remarks = [] if check is None else [source.compared(rows["check"])]
    declarations = "".join(f"void {declared};\n" for declared in source.functions())
    macros = "".join(_macros(model, name, source.macros()))
    text = source.head(remarks) + _comment(note) + macros + "\n" + source.code(declarations)
    write_whole(path.with_suffix(".h"), _header(name, path.name, macros, source.includes, declarations).encode())
    write_whole(path, text.encode())


def _check_name(name: Any) -> None:
    """Raise a TypeError or ValueError for a name that a C function cannot have."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {type(name).__name__}")
    stem = re.sub(r"(f|l|f\d+x?)(_r)?$", "", name)
    reserved = bool({name, stem} & {*_TAKEN.split()}) or name.startswith(_TAKEN_BEGINNINGS)
    if reserved or re.fullmatch(_TAKEN_FORMS, name) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be a C identifier, with a letter first, that C has not taken, got {name!r}")


def _rows(model: MLP, x: Any, name: str) -> np.ndarray:
    x = check_x(x, model.spec.n_in, model.dtype, name)
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name} must be an array, got sparse rows; give {name}.toarray()")
    return x


def _macros(model: MLP, name: str, more: Mapping[str, str]) -> Iterator[str]:
    """Yield definitions of sizes, of a source's own macros, and of the names of inputs and classes."""
    values = {"N_IN": str(model.spec.n_in), "N_OUT": str(model.spec.n_out), **more}
    columns = model.feature_names or model.metadata.get("columns")
    if isinstance(columns, (list, tuple)) and len(columns) == model.spec.n_in:
        values["INPUTS"] = _braces([_literal(str(column)) for column in columns])
    if model.class_names is not None:
        values["CLASSES"] = _braces([_literal(label) for label in model.class_names])
    for key, value in values.items():
        yield f"#define {name.upper()}_{key} {value}\n"


def _braces(items: Sequence[str]) -> str:
    """Return an initialiser, in several lines, for a macro."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > _WIDEST:
            lines.append("")
        lines[-1] += f"{item}, "
    return "{" + " \\\n    ".join(line.rstrip() for line in lines).removesuffix(",") + "}"


def _literal(text: str) -> str:
    """Return a C string in ASCII: other characters are written as the octal numbers of their UTF-8."""
    plain = {*range(32, 127)} - {*b'"\\?'}
    octets = printable(text).encode()
    return '"' + "".join(chr(octet) if octet in plain else f"\\{octet:03o}" for octet in octets) + '"'


def _header(name: str, file: str, macros: str, includes: str, declarations: str) -> str:
    guard = f"{name.upper()}_H"
    return (
        f"/* Declarations of {_tame(file)}, written by fastmlp {__version__}. */\n\n"
        f"#ifndef {guard}\n#define {guard}\n\n{macros}\n{includes}"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\n{declarations}#ifdef __cplusplus\n}}\n#endif\n\n#endif\n'
    )


def _comment(note: str) -> str:
    """Return a note as a C comment; empty for an empty note."""
    return "/* " + "\n * ".join(map(_tame, note.splitlines())) + "\n */\n\n" if note else ""


def _tame(text: str) -> str:
    """Put blanks into what would begin or end a comment or a trigraph, and replace unprintable characters."""
    text = printable(text)
    return re.sub(r"(?<=[*/?])(?=[*/?])", " ", text)


class _Source:
    """The part that files of floats and of integers share."""

    includes = ""  # that declarations need

    def __init__(self, model: MLP, name: str) -> None:
        self._model, self._name = model, name

    def functions(self) -> list[str]:
        """Return the declarations, without ``void``."""
        raise NotImplementedError

    def macros(self) -> dict[str, str]:
        """Return further macros, by the ends of their names."""
        return {}

    def code(self, declarations: str) -> str:
        """Return all that follows the macros."""
        raise NotImplementedError

    def head(self, remarks: Sequence[str]) -> str:
        """Return the comment at the file's beginning."""
        raise NotImplementedError

    def compared(self, rows: np.ndarray) -> str:
        """Compile the file, compare its results for rows with the network's, and report that in a sentence."""
        declarations = "".join(f"void {declared};\n" for declared in self.functions())
        text = "".join(_macros(self._model, self._name, self.macros())) + self.code(declarations)
        try:
            return self._compare(text, rows)
        except NotChecked as reason:
            warnings.warn(f"to_c: the file is not checked: {reason}", stacklevel=3)
            return "Not checked: " + _tame(str(reason))

    def _compare(self, text: str, rows: np.ndarray) -> str:
        raise NotImplementedError


class _RealSource(_Source):
    """A network as C code of float or double."""

    def __init__(self, model: MLP, name: str, dtype: np.dtype, jacobian: bool) -> None:
        super().__init__(model, name)
        self._dtype, self._jacobian = dtype, jacobian
        self._real, self._suffix = ("float", "f") if dtype == np.float32 else ("double", "")
        self._arrays = _arrays(model, dtype)
        self._steps, self._buffers = _steps(model, self._arrays, dtype)

    @property
    def _jacobian_name(self) -> str:
        stem = self._name.removesuffix("predict")
        return f"{stem}jacobian" if stem != self._name else f"{stem}_jacobian"

    def functions(self) -> list[str]:
        functions = [f"{self._name}(const {self._real} *x, {self._real} *out)"]
        if self._jacobian:
            functions.append(f"{self._jacobian_name}(const {self._real} *x, {self._real} *out, {self._real} *jac)")
        return functions

    def code(self, declarations: str) -> str:
        text = "".join(self._sections()).replace("@", self._suffix).replace("REAL", self._real)
        text = text.replace("NAME", self._name).replace(_OTHER, self.functions()[-1])
        return f"#include <math.h>\n\n{declarations}{text}"

    def head(self, remarks: Sequence[str]) -> str:
        spec = self._model.spec
        n_weights = sum(array.nbytes for array in self._arrays.values())
        n_buffers = sum(self._buffers.values()) * self._dtype.itemsize
        lines = [
            f"void {self.functions()[0]} takes one sample, {spec.n_in} numbers, and writes {spec.n_out}.",
            f"{_memory(n_weights, n_buffers)} Link with -lm.",
        ]
        if self._jacobian:
            lines += [
                f"void {self.functions()[1]} also writes the outputs'",
                f"derivatives by the inputs, ({spec.n_out}, {spec.n_in}), one output's after the other's.",
            ]
        return _head(self._model, [*lines, *remarks])

    def _compare(self, text: str, rows: np.ndarray) -> str:
        x = rows.astype(self._dtype)
        name = self._name
        out, compiler = compiled(text, name, f"{name}({name}_x, {name}_out)", x, self._model.spec.n_out)
        difference = np.abs(out - self._model.predict(x)).max()
        said = f"Checked: compiled by {compiler}, its largest difference from predict on {len(x)} samples is "
        said += f"{difference:.2g}"
        if not self._jacobian:
            return said + "."
        n_in, n_out = self._model.spec.n_in, self._model.spec.n_out
        x = x[: max(1, _MOST_DERIVATIVES // (n_in * n_out))]
        call = f"{{ static {self._real} {name}_y[{n_out}]; {self._jacobian_name}({name}_x, {name}_y, {name}_out); }}"
        derivatives, _ = compiled(text, name, call, x, n_out * n_in)
        expected = self._model.jacobian(x, wrt="inputs").reshape(derivatives.shape)
        difference = np.abs(derivatives - expected).max()
        among = "" if len(x) == len(rows) else f" on {len(x)} of them"
        return said + f",\nthat of its derivatives{among} {difference:.2g}."

    def _sections(self) -> Iterator[str]:
        """Yield the code, section by section; @, REAL and NAME stand for what depends on dtype and name."""
        acts = {layer.act.name: word(_ACTIVATIONS, layer.act, "C") for layer in self._model.spec.layers}
        for key, array in self._arrays.items():
            numbers = [
                f"{number}@" for number in array.ravel().astype(str)
            ]  # with as many digits as tell it from others
            yield f"\nstatic const REAL NAME_{key}[{array.size}] = {{\n{_lines(numbers)}\n}};\n"
        yield _DENSE
        for act, expression in acts.items():
            if act == "softmax":
                yield _SOFTMAX
            elif act != "linear":
                yield _function(act, act, expression)
        declared = [f"REAL {key}[{n}];" for key, n in self._buffers.items()]
        declared += ["int i;"] if any("for" in step for step in self._steps) else []
        body = "".join(f"    {line}\n" for line in [*declared, *self._steps])
        yield f"\nvoid NAME(const REAL *x, REAL *out)\n{{\n{body}}}\n"
        if self._jacobian:
            yield _DENSE_BACKWARD
            for act in acts:
                if act == "softmax":
                    yield _SOFTMAX_BACKWARD
                elif act != "linear":
                    yield _function(act, f"d_{act}", _DERIVATIVES[act])
            yield self._jacobian_function()

    def _jacobian_function(self) -> str:
        """Return the function that goes forward, keeping derivatives, and back from each output."""
        spec, layers = self._model.spec, self._model.spec.layers
        forward, kept = _steps_with_derivatives(self._model, self._arrays, self._dtype)
        widest = max(layer.n for layer in layers)
        unit = _element("out_scale", self._arrays) if "out_scale" in self._arrays else "1.0@"
        back = [f"for (i = 0; i < {spec.n_out}; ++i)", f"    p[i] = i == k ? {unit} : 0.0@;"]
        here, below = "p", "q"
        for i in range(len(layers), 0, -1):
            layer, n_below = layers[i - 1], spec.widths[i - 1]
            if not layer.act.elementwise:
                back.append(f"NAME_softmax_backward(d{i}, {here}, {layer.n});")
            elif layer.act.name != "linear":
                back += [f"for (i = 0; i < {layer.n}; ++i)", f"    {here}[i] *= d{i}[i];"]
            target = "jac" if i == 1 else below
            back.append(f"NAME_dense_backward(NAME_w{i}, {here}, {layer.n}, {target}, {n_below});")
            here, below = below, here
        if "scale" in self._arrays:
            factor = _element("scale", self._arrays)
            back += [f"for (i = 0; i < {spec.n_in}; ++i)", f"    jac[i] *= {factor};"]
        buffers = {**self._buffers, **kept, "p": widest} | ({"q": widest} if len(layers) > 1 else {})
        declared = [f"REAL {key}[{n}];" for key, n in buffers.items()]
        lines = [*declared, "int i, k;", *forward, f"for (k = 0; k < {spec.n_out}; ++k, jac += {spec.n_in}) {{"]
        body = "".join(f"    {line}\n" for line in [*lines, *(f"    {line}" for line in back), "}"])
        return f"\nvoid {_OTHER}\n{{\n{body}}}\n"


class _IntegerSource(_Source):
    """A network as C code with integers only."""

    includes = "#include <stdint.h>\n\n"

    def __init__(self, model: MLP, name: str, rows: np.ndarray) -> None:
        super().__init__(model, name)
        for layer in model.spec.layers:
            word(_ACTIVATIONS, layer.act, "C")
        _arrays(model, model.dtype)  # all must be finite
        with np.errstate(all="ignore"):  # what is not finite is found and named
            self._integers, self._n_rows = Integers(model, rows), len(rows)

    def functions(self) -> list[str]:
        return [f"{self._name}(const int8_t *x, int8_t *out)"]

    def macros(self) -> dict[str, str]:
        made = self._integers
        arrays = {
            "X_SCALES": made.x_scales,
            "X_ZEROS": made.x_zeros,
            "OUT_SCALES": made.out_scales,
            "OUT_ZEROS": made.out_zeros,
        }
        return {key: _braces([repr(float(value)) for value in values]) for key, values in arrays.items()}

    def code(self, declarations: str) -> str:
        return self.includes + declarations + "".join(self._sections()).replace("NAME", self._name)

    def head(self, remarks: Sequence[str]) -> str:
        spec, upper = self._model.spec, self._name.upper()
        n_weights = sum(array.nbytes for _, array in self._constants())
        n_buffers = sum(self._buffers().values())
        lines = [
            f"void {self.functions()[0]} takes one sample, {spec.n_in} integers, and writes {spec.n_out};",
            f"x[i] is value / scale + zero, rounded and limited to -128 and 127, by {upper}_X_SCALES and _X_ZEROS;",
            f"an output is scale * (out[i] - zero), by {upper}_OUT_SCALES and _OUT_ZEROS.",
        ]
        if gives_scores(spec):
            last = spec.layers[-1].act.name
            lines.append(f"Outputs are scores: the {last} of the last layer is left to the caller, where it is wanted.")
        lines += [
            _memory(n_weights, n_buffers),
            "Integer arithmetic alone; nothing to link with.",
            f"Largest error on the {self._n_rows} samples it was calibrated on: {self._integers.error:.3g}.",
        ]
        return _head(self._model, [*lines, *remarks])

    def _compare(self, text: str, rows: np.ndarray) -> str:
        q = self._integers.quantised(rows)
        name = self._name
        out, compiler = compiled(text, name, f"{name}({name}_x, {name}_out)", q, self._model.spec.n_out)
        if not np.array_equal(out, self._integers.outputs(q)):
            raise NotChecked(f"what {compiler} makes of it computes other integers")
        error = self._integers.error_on(self._model, rows)
        return f"Checked: compiled by {compiler}, its largest error on {len(rows)} samples is {error:.3g}."

    def _constants(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the file's constant arrays: "int8_t NAME_w1" and so on."""
        for i, layer in enumerate(self._integers.layers, 1):
            yield f"int8_t NAME_w{i}", layer.weights
            yield f"int32_t NAME_b{i}", layer.biases
            yield f"int32_t NAME_m{i}", layer.multipliers
            yield f"uint8_t NAME_s{i}", layer.shifts
            if layer.table is not None:
                yield f"int8_t NAME_act{i}", layer.table

    def _buffers(self) -> dict[str, int]:
        hidden = [layer.n for layer in self._model.spec.layers[:-1]]
        return {key: max(hidden[start::2]) for start, key in enumerate("ab") if hidden[start::2]}

    def _sections(self) -> Iterator[str]:
        spec = self._model.spec
        for key, array in self._constants():
            yield f"\nstatic const {key}[{array.size}] = {{\n{_lines(array.ravel().astype(str))}\n}};\n"
        yield _INT8_DENSE
        lines = [f"int8_t {key}[{n}];" for key, n in self._buffers().items()]
        if any(layer.table is not None for layer in self._integers.layers):
            lines.append("int i;")
        source = "x"
        for i, (layer, made) in enumerate(zip(spec.layers, self._integers.layers, strict=True), 1):
            target = "out" if i == len(spec.layers) else "ab"[(i - 1) % 2]
            arrays = ", ".join(f"NAME_{key}{i}" for key in "wbms")
            lines.append(f"NAME_dense({arrays}, {source}, {spec.widths[i - 1]}, {target}, {layer.n});")
            if made.table is not None:
                lines += [f"for (i = 0; i < {layer.n}; ++i)", f"    {target}[i] = NAME_act{i}[{target}[i] + 128];"]
            source = target
        yield "\nvoid NAME(const int8_t *x, int8_t *out)\n{\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def _memory(n_weights: int, n_buffers: int) -> str:
    return f"x and out must not overlap. Weights: {n_weights} bytes, constant. Buffers on the stack: {n_buffers} bytes."


def _lines(numbers: Sequence[str] | np.ndarray) -> str:
    return ",\n".join(", ".join(numbers[i : i + _PER_LINE]) for i in range(0, len(numbers), _PER_LINE))


def _function(act: str, name: str, body: str) -> str:
    """Return a function of z, and of the activation's setting if the body uses it."""
    setting = ACTIVATIONS[act].traits.setting
    setting = f", REAL {setting}" if setting else ""
    body = body if "return" in body else f"return {body}"
    return f"\nstatic REAL NAME_{name}(REAL z{setting})\n{{\n    {body};\n}}\n"


def _arrays(model: MLP, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Return the file's constant arrays by the last words of their names: shift, scale, w1, b1, …, out_shift, …."""
    spec = model.spec
    arrays = {}
    for key, values in (("shift", spec.shift), ("scale", spec.scale)):
        if values is not None:
            arrays[key] = np.array(values)
    for i, (layer, weights, biases) in enumerate(zip(spec.layers, model.weights, model.biases, strict=True), 1):
        arrays[f"w{i}"] = weights
        if layer.bias:
            arrays[f"b{i}"] = biases
    for key, values in (("out_shift", spec.layers[-1].shift), ("out_scale", spec.layers[-1].scale)):
        if values is not None:
            arrays[key] = np.array(values)
    with np.errstate(over="ignore"):
        arrays = {key: np.asarray(array, dtype) for key, array in arrays.items()}
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the model has numbers that are NaN or infinite, in {key}, as {dtype}")
    return arrays


def _steps(model: MLP, arrays: Mapping[str, np.ndarray], dtype: np.dtype) -> tuple[list[str], dict[str, int]]:
    """Return the statements of the function, and the lengths of the two buffers that layers use in turn."""
    steps: list[str] = []
    buffers: dict[str, int] = {}
    for i, (layer, source, target) in enumerate(_places(model, arrays, steps, buffers), 1):
        steps.append(_product(model, i, source, target))
        if not layer.act.elementwise:
            steps.append(f"NAME_softmax({target}, {layer.n});")
        elif layer.act.name != "linear":
            steps.append(_each(target, layer.n, _call(layer.act, layer.act.name, f"{target}[i]", dtype)))
    return steps, buffers


def _steps_with_derivatives(
    model: MLP, arrays: Mapping[str, np.ndarray], dtype: np.dtype
) -> tuple[list[str], dict[str, int]]:
    """Return statements that also keep f'(z) of layer i, or the softmax, in ``d{i}``; and the lengths of these
    arrays."""
    steps: list[str] = []
    kept: dict[str, int] = {}
    for i, (layer, source, target) in enumerate(_places(model, arrays, steps, {}), 1):
        steps.append(_product(model, i, source, target))
        if layer.act.name == "linear":
            continue
        kept[f"d{i}"] = layer.n
        if not layer.act.elementwise:
            steps += [f"NAME_softmax({target}, {layer.n});", _each(f"d{i}", layer.n, f"{target}[i]")]
            continue
        steps.append(_each(f"d{i}", layer.n, _call(layer.act, f"d_{layer.act.name}", f"{target}[i]", dtype)))
        steps.append(_each(target, layer.n, _call(layer.act, layer.act.name, f"{target}[i]", dtype)))
    return steps, kept


def _places(
    model: MLP, arrays: Mapping[str, np.ndarray], steps: list[str], buffers: dict[str, int]
) -> Iterator[tuple[Layer, str, str]]:
    """Yield each layer with the names of the arrays that it reads and writes; add statements that scale x and out."""
    source = "x"

    def free_buffer(n: int) -> str:
        other = "b" if source == "a" else "a"
        buffers[other] = max(n, buffers.get(other, 0))
        return other

    if "shift" in arrays or "scale" in arrays:
        value = f"(x[i] - {_element('shift', arrays)})" if "shift" in arrays else "x[i]"
        value += f" * {_element('scale', arrays)}" if "scale" in arrays else ""
        target = free_buffer(model.spec.n_in)
        steps.append(_each(target, model.spec.n_in, value))
        source = target
    for i, layer in enumerate(model.spec.layers, 1):
        target = "out" if i == len(model.spec.layers) else free_buffer(layer.n)
        yield layer, source, target
        source = target
    if "out_shift" in arrays or "out_scale" in arrays:
        value = f"{_element('out_shift', arrays)} + " if "out_shift" in arrays else ""
        value += f"{_element('out_scale', arrays)} * out[i]" if "out_scale" in arrays else "out[i]"
        steps.append(_each("out", model.spec.n_out, value))


def _element(key: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Return the i-th number of a constant array, or its only number."""
    return f"NAME_{key}[{'i' if arrays[key].size > 1 else 0}]"


def _product(model: MLP, i: int, source: str, target: str) -> str:
    layer, n_source = model.spec.layers[i - 1], model.spec.widths[i - 1]
    biases = f"NAME_b{i}" if layer.bias else "0"
    return f"NAME_dense(NAME_w{i}, {biases}, {source}, {n_source}, {target}, {layer.n});"


def _each(target: str, n: int, value: str) -> str:
    return f"for (i = 0; i < {n}; ++i)\n        {target}[i] = {value};"


def _call(act: Activation, function: str, z: str, dtype: np.dtype) -> str:
    setting = "" if act.slope is None else f", {dtype.type(act.slope)!s}@"
    return f"NAME_{function}({z}{setting})"


def _head(model: MLP, said: Sequence[str]) -> str:
    """Return the comment at the file's beginning, with the text about its functions."""
    spec = model.spec
    last = spec.layers[-1]
    scaled = [text for text, v in (("x - shift", spec.shift), ("times scale", spec.scale)) if v is not None]
    restored = [text for text, v in (("times scale", last.scale), ("plus shift", last.shift)) if v is not None]
    lines = [
        f"A fully connected network, written by fastmlp {__version__}.",
        "",
        f"  input    {spec.n_in}" + (f" ({', '.join(scaled)})" if scaled else ""),
        *(f"  layer {i}  {layer.n} {layer.act.name}" for i, layer in enumerate(spec.layers, 1)),
        *([f"           ({', '.join(restored)})"] if restored else []),
        "",
        *textwrap.wrap(_outputs(model), 110),
        *(line for text in said for line in text.splitlines()),
    ]
    return "/* " + "\n *".join(f" {line}".rstrip() for line in lines).lstrip() + "\n */\n\n"


def _outputs(model: MLP) -> str:
    """Return a sentence that names the outputs, in ASCII, or an empty text."""
    if model.class_names is None:
        return ""
    names = [_tame(json.dumps(name)) for name in model.class_names]
    if model.spec.n_out == 1:
        return f"out[0] is the probability of {names[1]}, against {names[0]}."
    return "; ".join(f"out[{i}] is {name}" for i, name in enumerate(names)) + "."
