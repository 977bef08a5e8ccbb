"""For beginners: XOR, which no single neuron can learn but eight hidden ones can. The smallest whole use of fastmlp."""

import fastmlp

x = [[0, 0], [0, 1], [1, 0], [1, 1]]
y = [0, 1, 1, 0]

spec = [
    {"n": 2, "act": None},  # input
    {"n": 8, "act": "tanh"},  # hidden
    {"n": 1, "act": "sigmoid"},  # output: the probability of "exactly one of the two"
]
model, history = fastmlp.train(x, y, spec, lr=0.5, epochs=500, seed=1)

print(fastmlp.Spec(spec))
print(f"loss: {history['loss'][0]:.3f} in the first epoch, {history['loss'][-1]:.3f} in the last")
for inputs, output in zip(x, model.predict(x)[:, 0], strict=True):
    print(f"{inputs[0]} xor {inputs[1]}: {output:.3f}")
assert model.predict_class(x).tolist() == y

# One hidden layer less, and it cannot be done: the best a line can do is three of four.
line = fastmlp.train(x, y, [spec[0], spec[-1]], lr=0.5, epochs=500, seed=1).model
right = line.evaluate(x, y)["accuracy"]
print(f"without the hidden layer: {100 * right:.0f} % right")
assert right < 1
