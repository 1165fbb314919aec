/* types.h - the words that every rz interface shares: status codes, errors, strings, element types.
 *
 * Rules of the boundary (docs/abi.md gives the reasons): fixed-width types only, no C enums, no
 * bit-fields, no varargs, no FILE, no errno. Every struct starts with its size and only grows at the
 * end; RZ_ABI_SIZE pins the size that a released minor had. Little-endian hosts with 64-bit pointers.
 */
#ifndef RZ_TYPES_H
#define RZ_TYPES_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || \
    UINTPTR_MAX != 0xffffffffffffffffu
#error "rz interfaces are defined for 64-bit little-endian hosts only"
#endif

#ifdef __cplusplus
#define RZ_STATIC_ASSERT static_assert
extern "C" {
#else
#define RZ_STATIC_ASSERT _Static_assert
#endif

/* Pins a boundary struct: its size, and that its last field ends it (no tail padding). */
#define RZ_ABI_SIZE(type, bytes, last) \
    RZ_STATIC_ASSERT(sizeof(type) == (bytes), #type " changed its size"); \
    RZ_STATIC_ASSERT(offsetof(type, last) + sizeof(((type *)0)->last) == (bytes), #type " has tail padding")
#define RZ_ABI_OFFSET(type, field, at) \
    RZ_STATIC_ASSERT(offsetof(type, field) == (at), #type "." #field " moved")

/* True if the struct that p points to is large enough to hold the field and the field is set. */
#define RZ_HAS(p, field) ((p)->size >= offsetof(__typeof__(*(p)), field) + sizeof((p)->field) && (p)->field)

/* ABI of this header: a plugin states the lowest host minor that it needs, not the one it was built with. */
#define RZ_ABI_MAJOR 1
#define RZ_ABI_MINOR 0

/* --- status: 0 is success, negative is an error, positive is information --- */
#define RZ_OK 0
#define RZ_AGAIN 1           /* nothing now, ask again                                 */
#define RZ_END 2             /* the sequence is over                                   */
#define RZ_EINVAL (-1)       /* the caller passed something impossible                 */
#define RZ_EUNSUPPORTED (-2) /* well-formed, but this implementation does not have it  */
#define RZ_ENOMEM (-3)
#define RZ_EIO (-4)     /* the operating system refused a file or socket          */
#define RZ_EFORMAT (-5) /* bytes from outside break their format's rules          */
#define RZ_ELIMIT (-6)  /* a named limit was reached                              */
#define RZ_EVERSION (-7)
#define RZ_ENOTFOUND (-8)
#define RZ_EBUSY (-9) /* a bounded queue is full                                */
#define RZ_ECANCELLED (-10)
#define RZ_ETIMEOUT (-11)
#define RZ_ECONFIG (-12) /* usage or configuration: exit status 2                  */
#define RZ_EDEVICE (-13) /* a device failed or is lost                             */
#define RZ_EINTERNAL (-14)

/* Why a call failed. Owned by the caller, so nothing needs freeing; `where` names the place (a file,
 * a key, a tensor), `message` says what is wrong with which value. Both are NUL-terminated UTF-8. */
struct rz_err {
    uint32_t size;
    int32_t code;
    uint32_t flags;
    uint32_t zero;
    char where[240];
    char message[768];
};
RZ_ABI_SIZE(struct rz_err, 1024, message);

/* A borrowed byte string; not NUL-terminated. */
struct rz_str {
    const char *data;
    uint64_t len;
};
RZ_ABI_SIZE(struct rz_str, 16, len);

/* --- element types: the numbers of the GGUF file format (ggml's type ids) --- */
#define RZ_TYPE_F32 0
#define RZ_TYPE_F16 1
#define RZ_TYPE_Q4_0 2
#define RZ_TYPE_Q4_1 3
#define RZ_TYPE_Q5_0 6
#define RZ_TYPE_Q5_1 7
#define RZ_TYPE_Q8_0 8
#define RZ_TYPE_Q2_K 10
#define RZ_TYPE_Q3_K 11
#define RZ_TYPE_Q4_K 12
#define RZ_TYPE_Q5_K 13
#define RZ_TYPE_Q6_K 14
#define RZ_TYPE_IQ2_XXS 16
#define RZ_TYPE_IQ2_XS 17
#define RZ_TYPE_IQ3_XXS 18
#define RZ_TYPE_IQ1_S 19
#define RZ_TYPE_IQ4_NL 20
#define RZ_TYPE_IQ3_S 21
#define RZ_TYPE_IQ2_S 22
#define RZ_TYPE_IQ4_XS 23
#define RZ_TYPE_I8 24
#define RZ_TYPE_I16 25
#define RZ_TYPE_I32 26
#define RZ_TYPE_I64 27
#define RZ_TYPE_F64 28
#define RZ_TYPE_IQ1_M 29
#define RZ_TYPE_BF16 30
#define RZ_TYPE_TQ1_0 34
#define RZ_TYPE_TQ2_0 35
#define RZ_TYPE_MXFP4 39
#define RZ_TYPE_NVFP4 40
#define RZ_TYPE_Q1_0 41
#define RZ_TYPE_Q2_0 42
/* types that GGUF does not have; rz lists tensors of them and does not run them */
#define RZ_TYPE_F8_E4M3 256
#define RZ_TYPE_F8_E5M2 257
#define RZ_TYPE_U8 258
#define RZ_TYPE_U16 259
#define RZ_TYPE_U32 260
#define RZ_TYPE_U64 261
#define RZ_TYPE_BOOL 262
#define RZ_TYPE_NONE (-1) /* no weight                  */
#define RZ_TYPE_ANY (-2)  /* any weight type is handled */

#ifdef __cplusplus
}
#endif
#endif
