/* source.c - the sources of the kernels, as text. The build turns each .cl file into lines of a C string. */
#include "opencl.h"

#define SOURCE(NAME) const struct source source_##NAME
/* clang-format off */
SOURCE(base) = {"base.cl",
#include "base.cl.inc"
};
SOURCE(matmul) = {"matmul.cl",
#include "matmul.cl.inc"
};
SOURCE(elementwise) = {"elementwise.cl",
#include "elementwise.cl.inc"
};
SOURCE(kv) = {"kv.cl",
#include "kv.cl.inc"
};
SOURCE(recurrent) = {"recurrent.cl",
#include "recurrent.cl.inc"
};
SOURCE(route) = {"route.cl",
#include "route.cl.inc"
};
SOURCE(wide) = {"wide.cl",
#include "wide.cl.inc"
};
/* clang-format on */
