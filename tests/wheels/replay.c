// Calls the kernels of a library as record.py recorded them, and compares what they leave with what was recorded:
//     replay LIBRARY RECORDING
// The last bits differ from processor to processor, so a number may be off by a share of the largest in its array.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
static void *opened(const char *path) { return LoadLibraryA(path); }
static void *symbol(void *library, const char *name) { return (void *)GetProcAddress(library, name); }
static void *mapped(int64_t start, int64_t size) {
    return VirtualAlloc((void *)start, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}
#else
#include <dlfcn.h>
#include <sys/mman.h>
static void *opened(const char *path) { return dlopen(path, RTLD_NOW); }
static void *symbol(void *library, const char *name) { return dlsym(library, name); }
static void *mapped(int64_t start, int64_t size) {
    return mmap((void *)start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
}
#endif

static FILE *file;

static void take(void *to, int64_t size) {
    if (size && fread(to, size, 1, file) != 1) {
        printf("the recording ends too early\n");
        exit(2);
    }
}

static int64_t number(void) {
    int64_t value;
    take(&value, 8);
    return value;
}

static void *function(void *library, char *name) {
    int64_t length = number();
    take(name, length);
    name[length] = 0;
    void *address = symbol(library, name);
    if (!address) {
        printf("the library has no %s\n", name);
        exit(2);
    }
    return address;
}

// The largest difference, as a share of the largest number.
static double difference(const char *got, const char *wanted, int64_t count, int64_t item) {
    double worst = 0, largest = 1e-3;
    for (int64_t i = 0; i < count; i++) {
        double a, b;
        if (item == 4) {
            a = ((const float *)got)[i];
            b = ((const float *)wanted)[i];
        } else {
            a = ((const double *)got)[i];
            b = ((const double *)wanted)[i];
        }
        if (isnan(a) || isnan(b)) {
            if (!isnan(a) || !isnan(b)) return INFINITY;
        } else if (a != b) {
            worst = fmax(worst, fabs(a - b));
        }
        if (isfinite(b)) largest = fmax(largest, fabs(b));
    }
    return worst / largest;
}

int main(int n, char **arguments) {
    void *library = n == 3 ? opened(arguments[1]) : NULL;
    file = n == 3 ? fopen(arguments[2], "rb") : NULL;
    if (!library || !file) {
        printf("%s cannot be opened\n", n == 3 ? arguments[library ? 2 : 1] : "replay LIBRARY RECORDING: nothing");
        return 2;
    }
    int64_t calls = number(), start = number(), size = number();
    if (mapped(start, size) != (void *)start) {
        printf("the recording's memory is taken\n");
        return 2;
    }
    char name[256], callee[256];
    double worst[2] = {0, 0};
    int failures = 0;
    for (int64_t call = 0; call < calls; call++) {
        int64_t a[6];
        double (*kernel)() = function(library, name);
        int64_t count = number();
        take(a, 8 * count);
        for (int64_t regions = number(); regions; regions--) {
            char *address = (char *)number();
            take(address, number());
        }
        for (int64_t functions = number(); functions; functions--) {
            int64_t place = number();
            int64_t address = (int64_t)function(library, callee);
            if (place < count)
                a[place] = address;
            else
                *(int64_t *)place = address;
        }
        double result = count == 3 ? ((double (*)(int64_t, int64_t, int64_t))kernel)(a[0], a[1], a[2])
                                   : ((double (*)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t))kernel)(
                                         a[0], a[1], a[2], a[3], a[4], a[5]);
        int single = strstr(name, "float32") != NULL;
        double off = 0, wanted;
        for (int64_t arrays = number(); arrays; arrays--) {
            char *got = (char *)number();
            int64_t length = number(), item = number();
            char *expected = malloc(length * item + 1);
            take(expected, length * item);
            off = fmax(off, difference(got, expected, length, item));
            free(expected);
        }
        take(&wanted, 8);
        off = fmax(off, difference((char *)&result, (char *)&wanted, 1, 8));
        worst[single] = fmax(worst[single], off);
        if (!(off <= (single ? 1e-4 : 1e-12))) {
            printf("call %lld of %s: off by %g\n", (long long)call, name, off);
            failures++;
        }
    }
    printf("%lld calls, %d wrong; float32 off by %.1e, float64 by %.1e\n", (long long)calls, failures, worst[1], worst[0]);
    return failures != 0;
}
