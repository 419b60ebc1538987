/* The page of a report: profiler/report/page.html as the build puts it into the program. "@DATA@" in it stands for
 * profile.json. */
#ifndef MOX_PROFILER_PAGE_H
#define MOX_PROFILER_PAGE_H

extern const char mox_report_page[]; /* terminated */

#endif
