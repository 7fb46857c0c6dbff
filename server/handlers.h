/* handlers.h: the handlers that route_table names; see request.h for what a handler may do. One
 * file a subject. */
#ifndef SERVER_HANDLERS_H
#define SERVER_HANDLERS_H

#include "server/request.h"

/* health.c */
int health_live(struct request *request);
int health_ready(struct request *request);
int health_metrics(struct request *request);
int health_openapi(struct request *request);
int health_server(struct request *request);

/* accounts.c */
int accounts_login_prepare(struct request *request);
int accounts_login(struct request *request);
int accounts_logout(struct request *request);
int accounts_me(struct request *request);
int accounts_password_prepare(struct request *request);
int accounts_password(struct request *request);
int accounts_list(struct request *request);
int accounts_add_prepare(struct request *request);
int accounts_add(struct request *request);
int accounts_change(struct request *request);
int accounts_remove(struct request *request);
int accounts_tokens(struct request *request);
int accounts_token_add(struct request *request);
int accounts_token_remove(struct request *request);

/* enrolment.c */
int enrolment_enrol(struct request *request);
int enrolment_result(struct request *request);
int enrolment_list(struct request *request);
int enrolment_decide(struct request *request);
int enrolment_tokens(struct request *request);
int enrolment_token_add(struct request *request);
int enrolment_token_remove(struct request *request);
int enrolment_renew(struct request *request);

/* devices.c, commands.c */
int devices_list(struct request *request);
int devices_get(struct request *request);
int devices_change(struct request *request);
int devices_policy(struct request *request);
int commands_list(struct request *request);
int commands_add(struct request *request);
int commands_for_device(struct request *request);
int commands_result(struct request *request);

/* people.c */
int people_users(struct request *request);
int people_user_get(struct request *request);
int people_user_add(struct request *request);
int people_user_change(struct request *request);
int people_user_remove(struct request *request);
int people_import(struct request *request);
int people_groups(struct request *request);
int people_group_get(struct request *request);
int people_group_add(struct request *request);
int people_group_change(struct request *request);
int people_group_remove(struct request *request);
int people_member_add(struct request *request);
int people_member_remove(struct request *request);

/* images.c */
int images_list(struct request *request);
int images_get(struct request *request);
int images_add(struct request *request);
int images_remove(struct request *request);
int images_catalogue_get(struct request *request);
int images_catalogue_put(struct request *request);
int images_key_get(struct request *request);
int images_key_put(struct request *request);
int images_versions(struct request *request);
int images_version_change(struct request *request);
int images_assignments(struct request *request);
int images_assign(struct request *request);
int images_unassign(struct request *request);
int images_device_catalogue(struct request *request);
int images_device_key(struct request *request);

/* appliances.c */
int appliances_offer(struct request *request);
int appliances_list(struct request *request);
int appliances_take(struct request *request);

/* traces.c */
int traces_put(struct request *request);
int traces_device_put(struct request *request);
int traces_device_get(struct request *request);

/* documents.c */
int documents_roles_get(struct request *request);
int documents_roles_put(struct request *request);
int documents_policy_get(struct request *request);
int documents_policy_put(struct request *request);
int documents_policy_try(struct request *request);

/* device_state.c */
int device_state_get(struct request *request);
int device_state_report(struct request *request);
int device_state_lease(struct request *request);

/* disks.c */
int disks_list(struct request *request);
int disks_backups(struct request *request);
int disks_backup_get(struct request *request);
int disks_keys(struct request *request);
int disks_for_device(struct request *request);
int disks_create(struct request *request);
int disks_epoch(struct request *request);
int disks_backup_add(struct request *request);
int disks_keys_put(struct request *request);

/* packs.c: @key receives the key of the pack that the call names. */
int packs_key(struct request *request, char key[OBJECTS_KEY_MAX]);
int packs_get(struct request *request);
int packs_put(struct request *request);

/* audit_log.c */
int audit_log_list(struct request *request);
int audit_log_head(struct request *request);
int audit_log_witnesses(struct request *request);

/** The newest roles document that the server holds, read: 0, -ENOENT or a negative errno. */
struct roles;
int documents_roles_newest(struct storage *storage, struct roles *roles);

/** The policy that holds for @device (and @user, or NULL) as the PC merges it; free @policy with
 * policy_free(). */
struct policy;
struct policy_effective;
int documents_effective(struct storage *storage, const char *device, const char *user,
			struct policy **policy, struct policy_effective *effective);
#endif
