/* source.c - the sources of the kernels, as text. The build turns each .cl file into lines of a C string.
 * */
#include "opencl.h"

const char source_base[] =
#include "base.cl.inc"
    ;
static const char matmul[] =
#include "matmul.cl.inc"
    ;
static const char elementwise[] =
#include "elementwise.cl.inc"
    ;
static const char kv[] =
#include "kv.cl.inc"
    ;
static const char recurrent[] =
#include "recurrent.cl.inc"
    ;
static const char route[] =
#include "route.cl.inc"
    ;
static const char wide[] =
#include "wide.cl.inc"
    ;
static const char wide_kv[] =
#include "wide_kv.cl.inc"
    ;

const struct source source_matmul = {"matmul.cl", matmul, ""};
const struct source source_elementwise = {"elementwise.cl", elementwise, ""};
const struct source source_kv = {"kv.cl", kv, ""};
const struct source source_recurrent = {"recurrent.cl", recurrent, ""};
const struct source source_route = {"route.cl", route, ""};
const struct source source_wide = {"wide.cl", wide, ""};
const struct source source_wide_matmul = {"wide.cl for matrices", matmul, wide};
const struct source source_wide_kv = {"wide_kv.cl", kv, wide_kv};
