# cmake -DIN=page.html -DOUT=page.c -P embed.cmake: a file as a terminated array of bytes.
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "/* profiler/report/page.html */\n#include \"profiler/report/page.h\"\n\nconst char mox_report_page[] = {\n${bytes}0};\n")
