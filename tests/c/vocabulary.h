/* The checks of vocabulary.c, compiled with one instruction set's flags; only to be called where
 * that set is usable. */
#ifndef FG_TEST_VOCABULARY_H
#define FG_TEST_VOCABULARY_H

int check_vocabulary(void); /* the exit status */

#endif
