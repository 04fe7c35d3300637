/* The checks of vocabulary.c, compiled with the flags of one instruction set; to be called only if
 * that set is usable. */
#ifndef FG_TEST_VOCABULARY_H
#define FG_TEST_VOCABULARY_H

int check_vocabulary(void); /* the exit status */

#endif
