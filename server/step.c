/* step.c: the product's steps: nothing happens. See step.h. */
#include "server/step.h"

void step(void)
{
}
