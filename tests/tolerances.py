"""Every tolerance of the test-suite, in one place, each with its reason."""

# Largest difference of a hidden state to transformers' in float32, states of size about 4: rounding of another order of sums.
HIDDEN_FP32 = 2e-5
# Largest difference of a state or vector, relative to its largest component, when its batch is made up otherwise:
# only the blocking of products may differ.
BATCH_INVARIANCE = 1e-6
# Largest difference of a unit vector's component to transformers' in float32.
VECTOR_FP32 = 1e-5
# Smallest cosine of a vector computed in bfloat16 with the float32 one, on tiny random models.
COSINE_BF16 = 0.9998
