/* session.h - what was computed of a text, in a file: saved out of the prefix cache and restored into it. */
#ifndef RZ_ENGINE_SESSION_H
#define RZ_ENGINE_SESSION_H

#include "loop.h"

/* rz_engine.save and rz_engine.restore. Wait for the end of the step in progress; no lock is held by the
 * caller. */
int64_t rz_session_save(struct rz_loop *loop, const int32_t *tokens, uint32_t n, const char *path,
                        struct rz_err *err);
int64_t rz_session_restore(struct rz_loop *loop, const char *path, struct rz_err *err);

#endif
