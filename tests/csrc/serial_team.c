/* team.h without OpenMP: a team of one. */
#include "check.h"
#include "team.h"

#include <string.h>

void test_serial_team(void) {
    fnn_phases p;
    memset(&p, 0, sizeof p);
    fnn_team_prepare();
    CHECK(fnn_team_rank() == 0 && fnn_team_size() == 1 && !FNN_HAS_OPENMP, "a team of one");
    fnn_leave(&p);
    fnn_team_release();
    CHECK(p.left == 1, "left");
}
