/* team.h and team.c without OpenMP: a team of one. */
#include "check.h"
#define fnn_team_prepare serial_prepare /* beside those of team.c */
#define fnn_team_form serial_form
#include <team.c> /* of csrc/; in quotes it would be the test of it */

#include <string.h>

void test_serial_team(void) {
    fnn_phases p;
    memset(&p, 0, sizeof p);
    fnn_team_prepare();
    CHECK(fnn_team_rank() == 0 && fnn_team_size() == 1 && !FNN_HAS_OPENMP, "a team of one");
    fnn_leave(&p);
    CHECK(fnn_team_form(3) == 1, "nothing is refused");
    CHECK(p.left == 1, "left");
}
