/*
 * bulkhead: the one command for administrators and users. Everything is in the command table; see commands.c.
 */
#include "command.h"

#include <signal.h>

int main(int argc, char **argv)
{
	/* A peer or pager that goes away is an error of one write, said in one line, not a silent death. */
	signal(SIGPIPE, SIG_IGN);
	return cli_run(argc, argv);
}
