/* test_source.c - mapped files: what is refused, split models, files that change or shrink while mapped. */
#include "core.h"
#include "err.h"
#include "rz_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[4][200];
    static int turn;
    char *p = path[turn++ & 3];
    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

static void put(const char *name, size_t bytes, int value)
{
    FILE *f = fopen(path_of(name), "w");
    rz_check(f != NULL);
    for (size_t i = 0; i < bytes; i++)
        fputc(value, f);
    fclose(f);
}

static void begin(void)
{
    snprintf(folder, sizeof(folder), "/tmp/rz-source-XXXXXX");
    rz_check(mkdtemp(folder) != NULL);
}

static void end(void)
{
    static const char *const names[] = {"a.gguf",
                                        "b.gguf",
                                        "pipe",
                                        "m-00001-of-00003.gguf",
                                        "m-00002-of-00003.gguf",
                                        "m-00003-of-00003.gguf"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove(path_of(names[i]));
    rmdir(folder);
}

static void refuses(const char *path, const char *part)
{
    struct rz_source_set set;
    struct rz_err err = RZ_ERR_INIT;
    rz_check(rz_source_open(path, &set, &err) < 0);
    rz_check_has(err.where, path);
    rz_check_has(err.message, part);
    rz_check(set.n == 0 && !set.sources && !set.priv);
}

RZ_TEST(source, maps_a_file)
{
    struct rz_source_set set;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    put("a.gguf", 10000, 'x');
    rz_check_ok(rz_source_open(path_of("a.gguf"), &set, &err), &err);
    rz_check_eq(set.n, 1);
    rz_check_eq(set.sources[0].bytes, 10000);
    rz_check_eq(set.sources[0].data[9999], 'x');
    rz_check_eq(set.sources[0].size, sizeof(struct rz_source));
    rz_check_streq(set.sources[0].path, path_of("a.gguf"));
    rz_check_ok(rz_source_check(&set, &err), &err);
    rz_source_close(&set);
    rz_check(set.n == 0);
    end();
}

RZ_TEST(source, what_is_no_model_file)
{
    begin();
    refuses(path_of("nothing"), "No such file");
    refuses(folder, "a folder without config.json");
    refuses("/dev/null", "a device, not a regular file");
    rz_check_eq(mkfifo(path_of("pipe"), 0600), 0);
    refuses(path_of("pipe"), "a pipe, not a regular file");
    put("a.gguf", 0, 0);
    refuses(path_of("a.gguf"), "empty");
    end();
}

RZ_TEST(source, folders)
{
    static const char *const names[] = {"z.safetensors", "README.md",    "tokenizer.json",
                                        "config.json",   ".safetensors", "a.safetensors"};
    static const char *const want[] = {"config.json", "a.safetensors", "tokenizer.json", "z.safetensors"};
    struct rz_source_set set;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    for (size_t i = 0; i < 6; i++)
        put(names[i], i + 1, 'x');
    rz_check_ok(rz_source_open(folder, &set, &err), &err);
    rz_check_eq(set.n, 4);
    for (uint32_t i = 0; i < set.n; i++) {
        rz_check_streq(set.sources[i].path, path_of(want[i]));
        rz_check_eq(set.sources[i].shard, i);
    }
    rz_check_eq(set.sources[0].bytes, 4);
    rz_check_ok(rz_source_check(&set, &err), &err);
    put("a.safetensors", 9, 'y');
    rz_check_eq(rz_source_check(&set, &err), RZ_EIO);
    rz_check_has(err.where, "a.safetensors");
    rz_source_close(&set);
    put("tokenizer.json", 0, 0);
    rz_check_eq(rz_source_open(folder, &set, &err), RZ_EFORMAT);
    rz_check_has(err.where, "tokenizer.json");
    for (size_t i = 0; i < 6; i++)
        remove(path_of(names[i]));
    end();
}

RZ_TEST(source, split_models)
{
    struct rz_source_set set;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    put("m-00001-of-00003.gguf", 10, 'a');
    put("m-00002-of-00003.gguf", 20, 'b');
    refuses(path_of("m-00002-of-00003.gguf"), "this is part 2 of 3: name the first");
    refuses(path_of("m-00004-of-00003.gguf"), "part 4 of 3");
    refuses(path_of("m-00001-of-00000.gguf"), "part 1 of 0");
    refuses(path_of("m-00001-of-99999.gguf"), "part 1 of 99999");
    rz_check(rz_source_open(path_of("m-00001-of-00003.gguf"), &set, &err) < 0);
    rz_check_has(err.where, "m-00003-of-00003.gguf");
    put("m-00003-of-00003.gguf", 30, 'c');
    rz_check_ok(rz_source_open(path_of("m-00001-of-00003.gguf"), &set, &err), &err);
    rz_check_eq(set.n, 3);
    for (uint32_t i = 0; i < 3; i++) {
        rz_check_eq(set.sources[i].shard, i);
        rz_check_eq(set.sources[i].bytes, 10 * (i + 1));
        rz_check_eq(set.sources[i].data[0], 'a' + (int)i);
    }
    rz_source_close(&set);
    end();
}

RZ_TEST(source, a_file_that_was_written_to_is_noticed)
{
    struct rz_source_set set;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    put("a.gguf", 5000, 'x');
    rz_check_ok(rz_source_open(path_of("a.gguf"), &set, &err), &err);
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    rz_check_eq(utimensat(AT_FDCWD, path_of("a.gguf"), times, 0), 0);
    rz_check_eq(rz_source_check(&set, &err), RZ_EIO);
    rz_check_has(err.message, "was written to");
    rz_source_close(&set);
    rz_check_ok(rz_source_open(path_of("a.gguf"), &set, &err), &err);
    rz_check_eq(truncate(path_of("a.gguf"), 6000), 0);
    rz_check_eq(rz_source_check(&set, &err), RZ_EIO);
    rz_check_has(err.message, "had 5000 bytes and now has 6000");
    rz_source_close(&set);
    end();
}

RZ_TEST(source, a_replaced_file_stays_as_it_was)
{
    struct rz_source_set set;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    put("a.gguf", 5000, 'x');
    rz_check_ok(rz_source_open(path_of("a.gguf"), &set, &err), &err);
    put("b.gguf", 100, 'y');
    rz_check_eq(rename(path_of("b.gguf"), path_of("a.gguf")), 0);
    rz_check_eq(set.sources[0].data[4999], 'x');
    rz_check_ok(rz_source_check(&set, &err), &err);
    rz_source_close(&set);
    end();
}

RZ_TEST(source, a_file_cut_while_mapped_reads_as_zeros_and_fails_its_set)
{
    struct rz_source_set cut, whole;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    put("a.gguf", 64 << 10, 'x');
    put("b.gguf", 64 << 10, 'y');
    rz_check(rz_source_guard());
    rz_check_ok(rz_source_open(path_of("a.gguf"), &cut, &err), &err);
    rz_check_ok(rz_source_open(path_of("b.gguf"), &whole, &err), &err);
    rz_check_eq(truncate(path_of("a.gguf"), 4096), 0);
    const volatile uint8_t *data = cut.sources[0].data;
    long sum = 0;
    for (size_t i = 0; i < 64 << 10; i += 512)
        sum += data[i];
    rz_check_eq(sum, 8 * 'x');
    rz_check_eq(truncate(path_of("a.gguf"), 64 << 10), 0); /* the size alone does not tell any more */
    rz_check_eq(rz_source_check(&cut, &err), RZ_EIO);
    rz_check_has(err.message, "could not be read");
    rz_check_ok(rz_source_check(&whole, &err), &err);
    rz_source_close(&cut);
    rz_check_ok(rz_source_open(path_of("a.gguf"), &cut, &err), &err); /* the slot is clean again */
    rz_check_ok(rz_source_check(&cut, &err), &err);
    rz_source_close(&cut);
    rz_source_close(&whole);
    end();
}

/* Kilobytes of the file that this process holds, from /proc: mincore would tell of the page cache. */
static size_t resident(const char *path)
{
    char line[400];
    unsigned long kb = 0;
    bool mine = false, found = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (f && !found && fgets(line, sizeof(line), f)) {
        if (strstr(line, path))
            mine = true;
        found = mine && sscanf(line, "Rss: %lu kB", &kb) == 1;
    }
    if (f)
        fclose(f);
    rz_check(found);
    return kb;
}

RZ_TEST(source, forgotten_pages_leave_memory_and_can_be_read_again)
{
    struct rz_source_set set;
    struct rz_err err = RZ_ERR_INIT;
    begin();
    put("a.gguf", 1 << 20, 'x');
    rz_check_ok(rz_source_open(path_of("a.gguf"), &set, &err), &err);
    const volatile uint8_t *data = set.sources[0].data;
    long sum = 0;
    for (size_t i = 0; i < 1 << 20; i += 4096)
        sum += data[i];
    rz_check_eq(resident(path_of("a.gguf")), 1024);
    rz_source_forget(&set, set.sources[0].data + 100, (1 << 20) - 200);
    rz_check(resident(path_of("a.gguf")) <= 8);
    rz_source_forget(&set, set.sources[0].data + 100, 50);       /* less than a page */
    rz_source_forget(&set, set.sources[0].data - 4096, 1 << 20); /* not inside: nothing happens */
    for (size_t i = 0; i < 1 << 20; i += 4096)
        sum -= data[i];
    rz_check_eq(sum, 0);
    rz_source_close(&set);
    end();
}
