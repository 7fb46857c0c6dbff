/*
 * ldap_directory.h: users and groups of a company's directory, read over LDAP (RFC 4511) in pages
 * (RFC 2696) and written as the comma-separated values that the server imports. The directory is
 * asked from here, so the server needs no password of it and no way to it.
 */
#ifndef BULKHEAD_CLI_LDAP_DIRECTORY_H
#define BULKHEAD_CLI_LDAP_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#define LDAP_PROBLEM_MAX 512

struct ldap_question {
	const char *uri;	/* ldaps://..., ldap://..., ldapi://... */
	const char *base;	/* where users are */
	const char *group_base; /* where groups are; NULL: at base */
	const char *filter;	/* of users */
	const char *group_filter;
	const char *name_attribute; /* uid, sAMAccountName, ... */
	const char *bind_dn;	    /* NULL: anonymous */
	const char *password;	    /* with bind_dn */
	const char *ca_file;	    /* NULL: the system's */
	bool start_tls;		    /* over ldap:// */
	bool in_plain;		    /* ldap:// as it is */
};

struct ldap_answer {
	char *csv; /* "name,full name,mail,groups" lines; freed by the caller */
	size_t users;
	size_t groups;	 /* that have a member among the users */
	size_t left_out; /* entries whose name the server would not take */
	char first_left_out[128];
};

/**
 * Asks and writes. @answer is filled on success only.
 *
 * @problem: one line on failure: what, why, remedy.
 *
 * Returns 0 or a negative errno.
 */
int ldap_directory_read(const struct ldap_question *question, struct ldap_answer *answer,
			char problem[LDAP_PROBLEM_MAX]);

/**
 * The same of a directory that is connected and has let us in: what its answers go through, for those
 * who attack it. @file: the connection; closed.
 */
int ldap_directory_read_file(const struct ldap_question *question, int file,
			     struct ldap_answer *answer, char problem[LDAP_PROBLEM_MAX]);

#endif
