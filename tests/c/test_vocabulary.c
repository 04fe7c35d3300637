/* Runs the checks of the named instruction set, if it is usable. */
#include <stdio.h>

#include "fusedgmm.h"
#include "vocabulary.h"

enum { SKIPPED = 77 };

int main(int count, char **arguments) {
    if (count != 2 || fg_isa_choose(arguments[1]) != 0) {
        puts("not usable here");
        return SKIPPED;
    }
    return check_vocabulary();
}
