/* OpenMP as team.h knows it, played by the threads of team.c: ThreadSanitizer sees them, and does not
 * see the barriers of a real OpenMP library. */
#ifndef FAKE_OMP_H
#define FAKE_OMP_H

enum { omp_pause_hard = 2 };
int omp_get_num_threads(void);
int omp_get_thread_num(void);
int omp_get_max_threads(void);
int omp_pause_resource_all(int kind);

#endif
