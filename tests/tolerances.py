"""Every tolerance of the test-suite, in one place, each with its reason."""

# Largest difference of a hidden state to transformers' in float32, states of size about 4: rounding of another order of sums.
HIDDEN_FP32 = 2e-5
# Largest difference of a state or vector, relative to its largest component, when its batch is made up otherwise:
# only the blocking of products may differ.
BATCH_INVARIANCE = 1e-6
# The same for hidden states before pooling, which averages no rounding away: a few units in the last place of float32.
STATE_INVARIANCE = 4e-6
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
# The same in narrower numbers against float32, on tiny random models: 0.09, 0.016 and 1.3 were measured, spread of scores 5.
LOG_ODDS = {"bfloat16": 0.3, "float16": 0.05, "float8": 2.5}
# Smallest cosine of a pooled state with 8-bit linear layers to the float32 one, on tiny random models, where errors add
# up more than in trained ones.
COSINE_FP8 = 0.98
# Largest difference to a similarity that ALM2Vec's authors printed with four decimals, from sounds resampled otherwise.
ALM2VEC_PUBLISHED = 2e-3
# Largest difference of an index's score to float64's on the unrounded vectors, unit vectors of 64 components: rounding of
# the sum, of the stored numbers, of numbers and query to 8 and 11 bits.
INDEX_SCORE_ATOL = {"float32": 1e-6, "float16": 1e-3, "int8": 2e-2}
# Largest difference of Whisper's log-mel to transformers', whose own float32 lies up to 1.4e-5 from float64.
LOGMEL_HF = 2e-5
# The same on pure tones in near silence, where its float32 strays up to 4e-5.
LOGMEL_HF_TONES = 1e-4
# Largest difference of log-mel in decibels (0 to -100) between float32 and float64, pure tones in near silence included.
LOGMEL_DB = 1e-2
# Largest difference of log-mel in decibels between two ways to compute it in float64.
LOGMEL_FP64 = 1e-9
# Largest difference, absolute and relative, of a clip's log-mel when it is packed with others: only blocking may differ.
LOGMEL_NEIGHBOURS = 1e-6
# Largest difference of the log-mel kernel to float64, in Whisper's units (a quarter of a decade).
LOGMEL_KERNEL = 1e-4
# Vectors over HTTP, as decimal numbers of other batches than the wanted ones.
SERVED = 1e-5
# Largest maximum mean discrepancy of a set to itself: the root of what rounding leaves of a kernel's mean.
MMD_OF_ITSELF = 1e-4
# Largest difference of a component of a unit vector between training's padded float32 pass and the engine's packed one. OEA's
# heads see the pooled state as it is in training and scaled to unit length when served; only the norm's eps tells them apart.
TRAINED_VECTOR = {"mini": 1e-5, "oea": 1e-3, "aurola": 1e-5, "alm2vec": 1e-5, "mini-tower": 1e-5, "alm2vec-tower": 1e-5}
# Largest difference of hidden states to transformers' where both take the same half-precision weights into float32.
TRTLLM_HIDDEN = 1e-4
# Largest difference of a unit vector's component between libharken and Python in float32: other orders of sums.
VECTOR_BUNDLE = 1e-4
# Smallest cosine of a vector from rounded weights to the float32 one, on tiny random models.
COSINE_BUNDLE = {"bfloat16": 0.999, "float16": 0.99999, "int8": 0.998}
# Smallest cosine of a device's vector to the CPU's of the same weights, whose products round nothing; 1 stands for components
# within 1e-4. int8 weights are rounded to bfloat16 on a device.
COSINE_CUDA = {"float32": 1, "bfloat16": 0.9998, "float16": 0.9998, "int8": 0.9998}
# Largest difference of a component of a unit vector where frozen states were kept in float16 in between, of size about 3.
FLOAT16_STATES = 3e-3
# Largest difference of a unit vector's component to transformers' on CUDA in float32, both with products of full width.
VECTOR_CUDA_FP32 = 1e-4
# Largest difference of a resampled sum of tones, of size 1, to the tones themselves: float32 sums of a few hundred products.
RESAMPLED_KNOWN = 5e-7
# The same to soxr's HQ, which at odd ratios places its outputs up to 1e-4 away from the tones.
RESAMPLED_SOXR = 3e-4
# Smallest cosine of a vector of the built-in model in bfloat16 with the float32 one; 0.9978 was measured on 29 clips.
COSINE_BF16_BUILT_IN = 0.995
# Largest relative difference of a LoRA gradient in a tower to that of transformers' graph over 30 s, in float32.
TOWER_GRADIENT = 1e-4
