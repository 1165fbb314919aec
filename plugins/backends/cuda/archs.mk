# The machines that images hold code for and, as PTX, what comes after the last of them. Compiling to PTX is as dear as
# the rest: the machines of one generation (80, 86, 89) share that of the first.
CUDA_ARCHS ?= 75 80 86 89 90
CUDA_GENCODE := $(shell echo $(sort $(CUDA_ARCHS)) | awk '{ for (i = 1; i <= NF; i++) { g = int($$i / 10); \
  if (!(g in first)) first[g] = $$i; printf "-gencode arch=compute_%s,code=sm_%s ", first[g], $$i } }') \
  -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
