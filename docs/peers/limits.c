/* What limits.py beside this file, which compiles and calls it, compares fastmlp with: per-sample SGD of 784-10-10, relu
 * under softmax and cross-entropy, float32, written for this one network. Samples are rows of x, (n, 784); order is that
 * in which they are learnt from.
 */
#include <math.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

enum { N_IN = 784, N = 10, LANES = 16, AHEAD = 4 };
#if defined(__AVX512F__)
enum { BYTES = 64 };
#else
enum { BYTES = 32 };
#endif
enum { ROW = 4 * LANES / BYTES }; /* vectors of LANES numbers */
typedef float vector __attribute__((vector_size(BYTES), aligned(BYTES)));
typedef float loose __attribute__((vector_size(BYTES), aligned(4)));

static void fetch(const float *row)
{
    for (int k = 0; k < N_IN; k += LANES) __builtin_prefetch(row + k);
}

/* Read all of x, in the order of the samples, and return a number that depends on it. */
float read_samples(const float *x, const int64_t *order, int64_t n)
{
    vector sums[7 * ROW] = {0}, sum = {0};
    for (int64_t t = 0; t < n; t++) {
        const loose *row = (const loose *)(x + order[t] * N_IN);
        if (t + AHEAD < n) fetch(x + order[t + AHEAD] * N_IN);
        for (int k = 0; k < 7; k++)
            for (int i = 0; i < 7 * ROW; i++) sums[i] += row[7 * ROW * k + i];
    }
    for (int i = 0; i < 7 * ROW; i++) sum += sums[i];
    return sum[0];
}

/* The numbers of x that are not zero, and where they stand; returns how many they are. Both lists have room for LANES
 * more. */
static int nonzeros(const float *x, float *values, int32_t *numbers)
{
    int found = 0;
#if defined(__AVX512F__)
    __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (int k = 0; k < N_IN; k += 16) {
        __m512 v = _mm512_loadu_ps(x + k);
        __mmask16 mask = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_storeu_ps(values + found, _mm512_maskz_compress_ps(mask, v));
        __m512i places = _mm512_add_epi32(lanes, _mm512_set1_epi32(k));
        _mm512_storeu_si512(numbers + found, _mm512_maskz_compress_epi32(mask, places));
        found += __builtin_popcount(mask);
    }
#elif defined(__AVX2__)
    static uint64_t lists[256]; /* the lanes of each mask, eight bits each */
    if (!lists[255])
        for (int mask = 0; mask < 256; mask++)
            for (int lane = 0, at = 0; lane < 8; lane++)
                if (mask >> lane & 1) lists[mask] |= (uint64_t)lane << 8 * at++;
    for (int k = 0; k < N_IN; k += 8) {
        __m256 v = _mm256_loadu_ps(x + k);
        int mask = _mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NEQ_UQ));
        __m256i lanes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)lists[mask]));
        _mm256_storeu_ps(values + found, _mm256_permutevar8x32_ps(v, lanes));
        _mm256_storeu_si256((void *)(numbers + found), _mm256_add_epi32(lanes, _mm256_set1_epi32(k)));
        found += __builtin_popcount(mask);
    }
#else
    for (int k = 0; k < N_IN; k++) {
        values[found] = x[k];
        numbers[found] = k;
        found += x[k] != 0;
    }
#endif
    return found;
}

/* Only list the non-zeros of each sample; returns how many there were. */
int64_t list_samples(const float *x, const int64_t *order, int64_t n)
{
    static float values[N_IN + LANES];
    static int32_t numbers[N_IN + LANES];
    int64_t total = 0;
    for (int64_t t = 0; t < n; t++) {
        if (t + AHEAD < n) fetch(x + order[t + AHEAD] * N_IN);
        total += nonzeros(x + order[t] * N_IN, values, numbers);
    }
    return total;
}

/* The network: w1 (784, 16) by inputs, w2 (10, 16) by inputs, each row padded with zeros. */
struct network {
    float w1[N_IN][LANES], b1[LANES], w2[N][LANES], b2[LANES];
} __attribute__((aligned(64)));

/* Turn the first layer's z into its delta, make the second layer's step, and add to the loss and the right answers. */
static void tail(struct network *net, float *z, int64_t label, float lr, double *loss, int64_t *right)
{
    float a[N], p[LANES], e[LANES], delta[LANES], top, total = 0;
    for (int k = 0; k < N; k++) a[k] = z[k] > 0 ? z[k] : 0;
    for (int i = 0; i < LANES; i++) p[i] = net->b2[i];
    for (int k = 0; k < N; k++)
        for (int i = 0; i < LANES; i++) p[i] += a[k] * net->w2[k][i];
    top = p[0];
    for (int i = 1; i < N; i++) top = p[i] > top ? p[i] : top;
    for (int i = 0; i < LANES; i++) e[i] = expf(p[i] - top);
    for (int i = N; i < LANES; i++) e[i] = 0;
    for (int i = 0; i < LANES; i++) total += e[i];
    *loss += top - p[label] + logf(total);
    *right += p[label] == top;
    total = 1 / total;
    for (int i = 0; i < LANES; i++) delta[i] = e[i] * total;
    delta[label] -= 1;
    for (int k = 0; k < N; k++) {
        float sum = 0, step = lr * a[k];
        for (int i = 0; i < LANES; i++) sum += net->w2[k][i] * delta[i];
        for (int i = 0; i < LANES; i++) net->w2[k][i] -= step * delta[i];
        z[k] = a[k] > 0 ? sum : 0;
    }
    for (int i = 0; i < LANES; i++) net->b2[i] -= lr * delta[i];
}

/* One pass over the samples, zeros skipped, each sample by itself; returns the sum of the losses. */
double skip_zeros(struct network *net, const float *x, const int64_t *y, const int64_t *order, int64_t n, float lr,
                  int64_t *right)
{
    static float values[N_IN + LANES];
    static int32_t numbers[N_IN + LANES];
    double loss = 0;
    for (int64_t t = 0; t < n; t++) {
        if (t + AHEAD < n) fetch(x + order[t + AHEAD] * N_IN);
        int found = nonzeros(x + order[t] * N_IN, values, numbers), i = 0;
        vector sums[4 * ROW] = {0}, *b1 = (vector *)net->b1, z[ROW], step[ROW];
        for (; i + 4 <= found; i += 4)
            for (int j = 0; j < 4; j++) {
                const vector *w = (const vector *)net->w1[numbers[i + j]];
                for (int k = 0; k < ROW; k++) sums[ROW * j + k] += values[i + j] * w[k];
            }
        for (; i < found; i++)
            for (int k = 0; k < ROW; k++) sums[k] += values[i] * ((vector *)net->w1[numbers[i]])[k];
        for (int k = 0; k < ROW; k++) z[k] = b1[k] + sums[k] + sums[ROW + k] + sums[2 * ROW + k] + sums[3 * ROW + k];
        tail(net, (float *)z, y[order[t]], lr, &loss, right);
        for (int k = 0; k < ROW; k++) b1[k] += step[k] = -lr * z[k];
        for (i = 0; i < found; i++)
            for (int k = 0; k < ROW; k++) ((vector *)net->w1[numbers[i]])[k] += values[i] * step[k];
    }
    return loss;
}

/* A step of plain SGD of 20-32-1, relu under a linear output and squared loss, with one sample: the arithmetic of
 * partial_fit. params are w1 (20, 32) by inputs, b1 (32), w2 (32), b2; returns the loss. */
double one_step(float *params, const float *x, const float *y, double lr)
{
    enum { INPUTS = 20, HIDDEN = 32 };
    float *b1 = params + INPUTS * HIDDEN, *w2 = b1 + HIDDEN, *b2 = w2 + HIDDEN;
    float a[HIDDEN], d[HIDDEN], out = *b2;
    for (int j = 0; j < HIDDEN; j++) a[j] = b1[j];
    for (int k = 0; k < INPUTS; k++)
        for (int j = 0; j < HIDDEN; j++) a[j] += x[k] * params[k * HIDDEN + j];
    for (int j = 0; j < HIDDEN; j++) a[j] = a[j] > 0 ? a[j] : 0;
    for (int j = 0; j < HIDDEN; j++) out += a[j] * w2[j];
    float error = out - *y, step = -(float)lr * error;
    for (int j = 0; j < HIDDEN; j++) {
        d[j] = a[j] > 0 ? step * w2[j] : 0;
        w2[j] += step * a[j];
        b1[j] += d[j];
    }
    *b2 += step;
    for (int k = 0; k < INPUTS; k++)
        for (int j = 0; j < HIDDEN; j++) params[k * HIDDEN + j] += x[k] * d[j];
    return 0.5 * error * error;
}

/* What any call of C from Python costs. */
double nothing(int64_t a, int64_t b, int64_t c) { return (double)(a + b + c); }

/* n times 12 multiply-adds of vectors that stay in registers and do not wait for each other: as fast as a core can. */
float multiply_adds(int64_t n, float number)
{
    vector sums[12], sum = {0};
    for (int i = 0; i < 12; i++) sums[i] = number / (i + 1) + (vector){0}; /* equal ones would be computed once */
    for (int64_t t = 0; t < n; t++)
        for (int i = 0; i < 12; i++) sums[i] = sums[i] * sums[i] + number;
    for (int i = 0; i < 12; i++) sum += sums[i];
    return sum[0];
}

/* How many numbers a vector has. */
int64_t lanes(void) { return BYTES / 4; }
