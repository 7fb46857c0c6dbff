/* problem.c: see problem.h. */
#include "store/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int problem_set(struct problem *problem, int error, const char *format, ...)
{
	va_list arguments;

	if (!problem || problem->line[0])
		return error;
	va_start(arguments, format);
	vsnprintf(problem->line, sizeof(problem->line), format, arguments);
	va_end(arguments);
	return error;
}

static const char *remedy(int error)
{
	switch (error) {
	case -ENOSPC:
		return "; nothing was lost: free space and run it again";
	case -EDQUOT:
		return "; nothing was lost: raise the quota or free space, then run it again";
	case -EACCES:
	case -EPERM:
		return "; run it as the store's owner";
	case -EMFILE:
		return "; raise the limit on open files (ulimit -n)";
	default:
		return "";
	}
}

int problem_errno(struct problem *problem, int error, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return problem_set(problem, error, "%s: %s%s", text, strerror(-error), remedy(error));
}
