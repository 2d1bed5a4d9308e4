/** The bits of a mode below its type, as in chmod(2). */

export const PERMISSIONS = 0o7777;
export const SET_USER_ID = 0o4000;
export const SET_GROUP_ID = 0o2000;
export const GROUP_EXECUTE = 0o0010;
