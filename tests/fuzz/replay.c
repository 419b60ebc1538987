/* The targets without libFuzzer: every file of the named folders through the target once. */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <string.h>

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s cannot be read\n", path);
        return 1;
    }
    size_t n = (size_t)ftell(f);
    uint8_t *data = malloc(n ? n : 1); /* of exactly the size: a sanitizer sees one byte too many */
    rewind(f);
    int bad = !data || fread(data, 1, n, f) != n;
    fclose(f);
    if (!bad) {
        LLVMFuzzerTestOneInput(data, n);
    }
    free(data);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0, files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        const struct dirent *e;
        while (dir && (e = readdir(dir))) {
            char path[4096];
            if (e->d_name[0] != '.') {
                snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
                bad |= replay(path);
                files++;
            }
        }
        bad |= !dir;
        if (dir) {
            closedir(dir);
        }
    }
    printf("%d inputs\n", files);
    return bad || files == 0;
}
