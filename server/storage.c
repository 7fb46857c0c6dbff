/* storage.c: what is the same for every driver of storage.h. */
#include "server/storage.h"

#include <errno.h>
#include <string.h>

struct storage_value storage_text(const char *text)
{
	return (struct storage_value){STORAGE_TEXT, 0, text, text ? strlen(text) : 0};
}

int storage_open(struct storage *storage, const struct storage_driver *driver, const char *path)
{
	memset(storage, 0, sizeof(*storage));
	storage->driver = driver;
	return driver->open(path, &storage->handle);
}

void storage_close(struct storage *storage)
{
	if (storage->handle)
		storage->driver->close(storage->handle);
	storage->handle = NULL;
}

static void end_writing(struct storage *storage)
{
	if (storage->writes && storage->writers)
		pthread_mutex_unlock(storage->writers);
	storage->writes = false;
}

int storage_begin(struct storage *storage)
{
	int status;

	if (storage->writers)
		pthread_mutex_lock(storage->writers);
	storage->writes = true;
	status = storage->driver->begin(storage->handle);
	if (status)
		end_writing(storage);
	return status;
}

int storage_commit(struct storage *storage)
{
	int status = storage->driver->commit(storage->handle);

	if (!status)
		end_writing(storage);
	return status;
}

void storage_rollback(struct storage *storage)
{
	storage->driver->rollback(storage->handle);
	end_writing(storage);
}

int storage_run(struct storage *storage, enum query query, const struct storage_value *values,
		size_t value_count)
{
	return storage->driver->query(storage->handle, query, values, value_count, NULL,
				      &storage->changed);
}

int storage_rows(struct storage *storage, enum query query, const struct storage_value *values,
		 size_t value_count, json_t **rows)
{
	json_t *list = json_array();
	int status;

	if (!list)
		return -ENOMEM;
	status = storage->driver->query(storage->handle, query, values, value_count, list,
					&storage->changed);
	if (status)
		json_decref(list);
	else
		*rows = list;
	return status;
}

int storage_row(struct storage *storage, enum query query, const struct storage_value *values,
		size_t value_count, json_t **row)
{
	json_t *rows;
	int status = storage_rows(storage, query, values, value_count, &rows);

	if (status)
		return status;
	if (json_array_size(rows))
		*row = json_incref(json_array_get(rows, 0));
	else
		status = -ENOENT;
	json_decref(rows);
	return status;
}
