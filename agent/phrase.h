/**
 * Recovery phrases: nine five-letter words that a person can read over a telephone. A word is
 * consonant, vowel, consonant, vowel, consonant and carries 16 bits; eight words are random (128
 * bits), the ninth checks them, so a mistyped phrase is told from a wrong one. Words are computed,
 * there is no list to install or translate.
 */
#ifndef AGENT_PHRASE_H
#define AGENT_PHRASE_H

#include <stdbool.h>
#include <stddef.h>

#define PHRASE_WORDS	     9
#define PHRASE_ENTROPY_BYTES 16
#define PHRASE_WHY_BYTES	     96
#define PHRASE_TEXT_BYTES    (PHRASE_WORDS * 6) /* words, spaces, final zero */

/** Makes a new phrase from the system's random numbers. */
void phrase_generate(char text[PHRASE_TEXT_BYTES]);

/** The phrase of given entropy. */
void phrase_write(const unsigned char entropy[PHRASE_ENTROPY_BYTES], char text[PHRASE_TEXT_BYTES]);

/**
 * Reads a phrase: capitals, hyphens and any white space are accepted.
 * Returns 0, -EINVAL (not nine such words; `wrong_word` gets the first bad one's number from 1, or
 * 0 if the number of words is wrong) or -EBADMSG (nine words that do not belong together: one is
 * mistyped).
 */
int phrase_read(const char *text, size_t text_bytes, unsigned char entropy[PHRASE_ENTROPY_BYTES],
		int *wrong_word);

/**
 * Whether a text is a recovery phrase. Returns true, or false with a sentence for the person who typed it in `why`.
 */
bool phrase_holds(const char *text, char why[PHRASE_WHY_BYTES]);

#endif
