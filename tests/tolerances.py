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
# Largest difference between a sound cut before resampling (with a margin) and after it.
RESAMPLED_CUT_ATOL = 1e-6
# Largest relative difference of attention over two merged halves to the whole, scores in the thousands: each score is
# rounded to 6e-8 of itself before it is exponentiated.
LSE_MERGE = 5e-4
# Largest difference of P(Yes) to transformers' or to the pair scored alone, in float32.
P_YES_FP32 = 1e-5
# The same of log P(Yes)/P(No), which does not shrink where P is near 0 or 1: a state's error times the two rows' distance.
LOG_ODDS_FP32 = 1e-3
# Smallest cosine of a pooled state with 8-bit linear layers to the float32 one, on tiny random models, where errors add
# up more than in trained ones.
COSINE_FP8 = 0.98
# Largest difference to a similarity that ALM2Vec's authors printed with four decimals, from sounds resampled otherwise.
ALM2VEC_PUBLISHED = 2e-3
# Largest difference of an index's score to float64's on the unrounded vectors, unit vectors of 64 components: rounding of
# the sum, of the stored numbers, of numbers and query to 8 and 11 bits.
INDEX_SCORE_ATOL = {"float32": 1e-6, "float16": 1e-3, "int8": 2e-2}
