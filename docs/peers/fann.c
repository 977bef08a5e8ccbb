/* Microseconds a sample that FANN takes to train 4-16-2 by plain SGD, one sample at a time: the best of 40 rounds. The
 * activation is its quickest, the stepwise sigmoid.
 *
 * cc -O3 -march=native docs/peers/fann.c -lfann -lm -o fann && ./fann; docs/peers/fann.py is fastmlp's side.
 */
#include <fann.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAMPLES 20000

static double processor_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(void)
{
    static fann_type x[SAMPLES][4], y[SAMPLES][2];
    for (int i = 0; i < SAMPLES; i++) {
        for (int k = 0; k < 4; k++) x[i][k] = rand() / (fann_type)RAND_MAX - 0.5f;
        y[i][0] = x[i][0] * x[i][1] > 0;
        y[i][1] = x[i][2] > x[i][3];
    }
    struct fann *net = fann_create_standard(3, 4, 16, 2);
    fann_set_activation_function_hidden(net, FANN_SIGMOID_STEPWISE);
    fann_set_activation_function_output(net, FANN_SIGMOID_STEPWISE);
    fann_set_training_algorithm(net, FANN_TRAIN_INCREMENTAL);
    fann_set_learning_momentum(net, 0);
    fann_set_learning_rate(net, 0.1f);
    double best = 1e9;
    for (int round = 0; round < 40; round++) {
        double begin = processor_time();
        for (int i = 0; i < SAMPLES; i++) fann_train(net, x[i], y[i]);
        double took = processor_time() - begin;
        if (took < best) best = took;
    }
    printf("FANN, 4-16-2, stepwise sigmoid, one sample at a time: %.3f us a sample\n", best / SAMPLES * 1e6);
    fann_destroy(net);
}
